//! `docs/deploy` beside the program: metrics, labels and flags that it names are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::program::Sandbox;
use crate::serve::{API, Server};

/// Labels that Prometheus adds itself.
const ADDED: [&str; 2] = ["instance", "job"];

fn deploy(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// Values of each label of each metric.
type Served = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn served(metrics: &str) -> Served {
    let mut served = Served::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.rsplit_once(' ').unwrap().0.split_once('{').unwrap_or_else(|| {
            let name = line.split(' ').next().unwrap();
            (name, "}")
        });
        let metric = served.entry(name.to_owned()).or_default();
        for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once("=\"").unwrap();
            metric.entry(key.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }
    served
}

/// What is asked of a label: its name, the operator, the values.
type Matcher = (String, String, String);

/// Metrics in an expression, each with what is asked of its labels.
fn selectors(expression: &str) -> Vec<(String, Vec<Matcher>)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find("endort_") {
        let name: String = rest[at..].chars().take_while(|c| word(*c)).collect();
        rest = &rest[at + name.len()..];
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            let (inner, after) = inner.split_once('}').unwrap();
            rest = after;
            for matcher in inner.split("\",").map(|matcher| matcher.trim_end_matches('"')) {
                let (left, value) = matcher.split_once('"').unwrap();
                let key: String = left.chars().take_while(|c| word(*c)).collect();
                labels.push((key.clone(), left[key.len()..].trim().to_owned(), value.to_owned()));
            }
        }
        found.push((name, labels));
    }
    found
}

/// Labels by which an expression groups and joins.
fn grouped(expression: &str) -> Vec<String> {
    let mut labels = Vec::new();
    for keyword in ["by (", "on (", "by(", "on("] {
        for rest in expression.split(keyword).skip(1) {
            let names = rest.split(')').next().unwrap().split(',');
            labels.extend(names.map(|name| name.trim().to_owned()));
        }
    }
    labels
}

/// Names in double braces, such as `{{ $labels.room }}` or `{{room}}`.
fn templated(text: &str) -> Vec<String> {
    let inside = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let names = inside.map(|name| name.trim().trim_start_matches("$labels.").to_owned());
    names.filter(|name| !name.starts_with("$value")).collect()
}

#[track_caller]
fn check(expression: &str, texts: &[&str], served: &Served) {
    let found = selectors(expression);
    let mut labels: BTreeSet<&str> = ADDED.into_iter().collect();
    for (name, matchers) in &found {
        let metric = served.get(name).unwrap_or_else(|| panic!("{name} is not served: {expression}"));
        labels.extend(metric.keys().map(String::as_str));
        for (label, operator, value) in matchers {
            let values = metric.get(label).unwrap_or_else(|| panic!("{name} has no label {label}"));
            assert!(["=", "!=", "=~", "!~"].contains(&operator.as_str()), "{expression}");
            for value in value.split('|').filter(|value| *value != "$room") {
                assert!(values.contains(value), "{name} never has {label}=\"{value}\", but {values:?}");
            }
        }
    }
    let named = grouped(expression).into_iter().chain(texts.iter().flat_map(|text| templated(text)));
    for name in named.filter(|_| !found.is_empty()) {
        assert!(labels.contains(name.as_str()), "{name} is no label of {expression}");
    }
}

#[test]
fn alerts_and_dashboard_name_nothing_that_is_not_served() {
    let server = Server::start(&["--record", "kept", "--room", "or-1=synthetic:64x64@10"]);
    let plain = json!({ "room": "or-2", "source": "synthetic:64x64@10", "model": "none", "record": false });
    server.post(&format!("{API}/video/start-stream"), &plain).status(201);
    for room in ["or-1", "or-2"] {
        server.wait_for(room, |room| room["state"] == "running");
    }
    server.wait_for("or-1", |room| room["recording"]["state"] == "recording");
    let served = served(&server.get("/metrics").status(200).text());

    let mut used = BTreeSet::new();
    let alerts = deploy("alerts.yml");
    let mut count = 0;
    for rule in alerts.split("- alert: ").skip(1) {
        let field = |name: &str| {
            let mut lines = rule.lines().filter_map(|line| line.trim().strip_prefix(name));
            lines.next().map_or(String::new(), |value| value.trim().trim_matches('"').to_owned())
        };
        let expression = field("expr:");
        assert!(!expression.is_empty() && !field("summary:").is_empty(), "{rule}");
        check(&expression, &[&field("summary:")], &served);
        used.extend(selectors(&expression).into_iter().map(|(name, _)| name));
        count += 1;
    }
    assert_eq!(count, alerts.matches("expr:").count());

    let dashboard: Value = serde_json::from_str(&deploy("grafana.json")).unwrap();
    let (mut numbers, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let place = &panel["gridPos"];
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| place[key].as_u64().unwrap());
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cell.0 < 24 && places.insert(cell), "{} lies over another panel", panel["title"]);
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty());
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            check(expression, &[target["legendFormat"].as_str().unwrap()], &served);
            assert!(!selectors(expression).is_empty(), "{expression}");
            used.extend(selectors(expression).into_iter().map(|(name, _)| name));
        }
    }
    let rooms = dashboard["templating"]["list"][1]["query"]["query"].as_str().unwrap();
    check(&rooms.replace(", ", ") by (").replace("label_values(", ""), &[], &served);
    // What a room says of itself is somewhere to be seen, figures of its beginning and histograms' sums aside.
    let shown =
        |name: &str| used.iter().any(|used| used == name || used.strip_suffix("_bucket") == Some(name));
    let families = served.keys().map(|name| {
        let of =
            |ending| name.strip_suffix(ending).filter(|base| served.contains_key(&format!("{base}_bucket")));
        ["_bucket", "_sum", "_count"].into_iter().find_map(of).unwrap_or(name)
    });
    let unseen: BTreeSet<_> =
        families.filter(|name| name.starts_with("endort_room_") && !shown(name)).collect();
    assert_eq!(unseen, BTreeSet::new(), "neither in an alert nor on the dashboard");
}

/// A command line with its paths in the sandbox, and only looked at instead of run.
fn checked(sandbox: &Sandbox, words: &[String]) {
    assert_eq!(words.first().map(String::as_str), Some("serve"), "{words:?}");
    let mut args: Vec<String> = words.iter().map(|word| inside(sandbox, word)).collect();
    if !args.iter().any(|arg| arg == "--check-config") {
        args.push("--check-config".to_owned());
    }
    sandbox.endort(args).finish().code(0).stdout("the settings are in order\n").stderr("");
}

fn inside(sandbox: &Sandbox, text: &str) -> String {
    let root = sandbox.path().to_str().unwrap();
    text.replace("/etc/endort", &format!("{root}/etc")).replace("/var/lib/endort", &format!("{root}/var"))
}

#[test]
fn units_recipes_and_their_settings_are_accepted_by_the_program() {
    let sandbox = Sandbox::new();
    let readme = deploy("README.md");
    let settings = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    sandbox.write("etc/endort.toml", inside(&sandbox, settings));
    sandbox.write("etc/tokens", "view door view-token-0123456789\n");
    std::fs::create_dir(sandbox.file("var")).unwrap();
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-keyout", "etc/tls.key", "-out", "etc/tls.crt"])
        .current_dir(sandbox.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let unit = deploy("endort.service");
    let mut commands = 0;
    for line in unit.lines().filter(|line| line.starts_with("Exec")) {
        let mut words = line.split_once('=').unwrap().1.split_whitespace().map(str::to_owned);
        assert_eq!(words.next().as_deref(), Some("/usr/local/bin/endort"));
        checked(&sandbox, &words.collect::<Vec<_>>());
        commands += 1;
    }
    assert_eq!(commands, 2);
    // What the unit says can be written to is where the settings write.
    assert!(unit.contains("StateDirectory=endort endort/cache\n") && settings.contains("\"/var/lib/endort/"));

    let recipe = deploy("Containerfile");
    let entry = recipe.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).unwrap();
    let words: Vec<String> = serde_json::from_str(entry).unwrap();
    assert_eq!(words[0], "endort");
    checked(&sandbox, &words[1..]);
    let port = recipe.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
    assert!(settings.contains(&format!(":{port}\"")), "the settings listen on the port that is exposed");
}
