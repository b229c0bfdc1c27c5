//! `completions/` and `man/` are what the command line's definition says.
//!
//! `make generate` (this test with `ENDORT_UPDATE=1`) writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use endort::cli::Cli;

/// Files of a folder by name.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[track_caller]
fn check(folder: &str, generate: impl FnOnce(&Path)) {
    let scratch = tempfile::tempdir().unwrap();
    generate(scratch.path());
    let expected = files(scratch.path());
    assert!(!expected.is_empty());

    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    if std::env::var_os("ENDORT_UPDATE").is_some() {
        std::fs::remove_dir_all(&kept).ok();
        std::fs::create_dir_all(&kept).unwrap();
        for (name, text) in &expected {
            std::fs::write(kept.join(name), text).unwrap();
        }
    }
    let found = files(&kept);
    let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let drifted: Vec<_> = names.into_iter().filter(|name| expected.get(*name) != found.get(*name)).collect();
    assert!(drifted.is_empty(), "{folder}/ does not fit the command line, run `make generate`: {drifted:?}");
}

#[test]
fn completions_fit_the_command_line() {
    check("completions", |folder| {
        for shell in Shell::value_variants() {
            clap_complete::generate_to(*shell, &mut Cli::command(), "endort", folder).unwrap();
        }
    });
}

#[test]
fn man_pages_fit_the_command_line() {
    check("man", |folder| clap_mangen::generate_to(Cli::command(), folder).unwrap());
}

#[test]
fn the_guide_names_every_flag() {
    let guide = include_str!("../../docs/REALTIME_PROCESSING.md");
    let named = |flag: &str| {
        let mut places = guide.match_indices(flag).map(|(at, _)| guide[at + flag.len()..].chars().next());
        places.any(|next| next.is_none_or(|next| !next.is_ascii_alphanumeric() && next != '-'))
    };
    let command = Cli::command();
    let missing: Vec<_> = command
        .get_subcommands()
        .flat_map(|sub| sub.get_arguments().map(move |argument| (sub.get_name(), argument)))
        .filter_map(|(name, argument)| argument.get_long().map(|long| (name, format!("--{long}"))))
        .filter(|(_, flag)| !named(flag))
        .collect();
    assert!(missing.is_empty(), "docs/REALTIME_PROCESSING.md does not name {missing:?}");
}

#[test]
fn the_definition_has_no_contradictions() {
    Cli::command().debug_assert();
}
