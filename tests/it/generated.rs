//! `completions/` and `man/` are what the command line's definition says, `docs/openapi.json` what the server says.
//!
//! `make generate` (this test with `ENDORT_UPDATE=1`) writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use endort::cli::Cli;

use crate::program::Sandbox;
use crate::serve::Server;

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

/// A field that is renamed, added or gone, in whatever is asked or answered, shows here.
#[test]
fn the_kept_api_document_is_the_one_that_is_served() {
    const TOKEN: &str = "view-token-0123456789";
    let sandbox = Sandbox::new();
    sandbox.write("tokens", format!("view door {TOKEN}\n"));
    let server = Server::start_in(sandbox, &["--token-file", "tokens"]);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let served = server.ask("GET", "/openapi.json", &[&bearer], b"").status(200).json();
    let served = serde_json::to_string_pretty(&served).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    if std::env::var_os("ENDORT_UPDATE").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let (mut served, mut kept) = (served.lines(), kept.lines());
    let differs = (1..).zip(std::iter::from_fn(|| match (served.next(), kept.next()) {
        (None, None) => None,
        pair => Some(pair),
    }));
    let differs: Vec<_> = differs.filter(|(_, (served, kept))| served != kept).take(3).collect();
    assert!(
        differs.is_empty(),
        "docs/openapi.json does not fit what is served, run `make generate`: {differs:?}"
    );
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
