#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

fn config(changes: &[(&str, Option<&str>)]) -> Value {
    let mut labels: BTreeMap<String, String> = [
        ("contract", "1"),
        ("tier", "aem"),
        ("port", "8080"),
        ("install-path", "/opt/launchway/install"),
        ("index-path", "/opt/launchway/packages.json"),
        ("data-path", "/opt/launchway/data/"),
        ("writable-paths", "/tmp, /run"),
        ("command.ready", "[\"/ready\"]"),
    ]
    .iter()
    .map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned()))
    .collect();
    for (key, value) in changes {
        match value {
            Some(value) => labels.insert(format!("{PREFIX}{key}"), (*value).to_owned()),
            None => labels.remove(&format!("{PREFIX}{key}")),
        };
    }
    json!({"config": {"User": "1000:1000", "StopSignal": "SIGWINCH", "Labels": labels}})
}

#[test]
fn complete() {
    let contract = RuntimeContract::from_config(&config(&[])).unwrap();
    assert_eq!((contract.tier, contract.port, contract.user, contract.group), (ImageTier::Aem, 8080, 1000, Some(1000)));
    assert_eq!(contract.data_path.as_deref(), Some("/opt/launchway/data"));
    assert_eq!(contract.writable_paths, ["/tmp", "/run"]);
    assert_eq!(contract.stop_signal.as_deref(), Some("SIGWINCH"));
    let json = serde_json::to_string(&contract).unwrap();
    assert_eq!(serde_json::from_str::<RuntimeContract>(&json).unwrap(), contract);
}

#[test]
fn a_dispatcher_may_have_a_port_for_counters() {
    let dispatcher = |port| {
        let changes = [("tier", Some("dispatcher")), ("config-path", Some("/etc/httpd")), ("metrics-port", port)];
        RuntimeContract::from_config(&config(&changes))
    };
    assert_eq!(dispatcher(Some("9180")).unwrap().metrics_port, Some(9180));
    assert_eq!(dispatcher(None).unwrap().metrics_port, None);
    for wrong in ["0", "metrics", "8080"] {
        assert_eq!(dispatcher(Some(wrong)).unwrap_err().label, "dev.launchway.metrics-port", "{wrong}");
    }
    // Of author and publish nobody asks for counters.
    assert_eq!(RuntimeContract::from_config(&config(&[("metrics-port", Some("x"))])).unwrap().metrics_port, None);
}

#[test]
fn errors_name_the_label() {
    for (key, value) in [
        ("contract", None),
        ("contract", Some("2")),
        ("tier", Some("x")),
        ("port", Some("0")),
        ("install-path", None),
        ("install-path", Some("opt")),
        ("install-path", Some("/opt/../etc")),
        ("command.ready", None),
        ("command.ready", Some("/ready")),
        ("command.ready", Some("[]")),
        ("command.live", Some("[\"\"]")),
        ("http.live", Some("system/probes/live")),
        ("http.live", Some("//elsewhere/live")),
        ("http.live", Some("/a live one")),
        ("probe-port", Some("9181")),
        ("writable-paths", Some("tmp")),
        ("immutable-files", Some("../x")),
    ] {
        let problem = RuntimeContract::from_config(&config(&[(key, value)])).unwrap_err();
        assert_eq!(problem.label, format!("{PREFIX}{key}"), "{problem}");
    }
    for user in ["", "0", "root", "1000:staff", "-1"] {
        let mut value = config(&[]);
        value["config"]["User"] = json!(user);
        assert_eq!(RuntimeContract::from_config(&value).unwrap_err().label, "User");
    }
    assert!(RuntimeContract::from_config(&json!({})).is_err());
}

#[test]
fn a_probe_is_a_command_or_a_path() {
    let probes =
        |changes: &[(&str, Option<&str>)]| RuntimeContract::from_config(&config(changes)).map(|all| all.probes);
    let command = Probe::Command(vec!["/ready".into()]);
    let http = |path: &str, port| Probe::Http { path: path.into(), port };
    let by_http = [("command.ready", None), ("http.ready", Some("/ready?format=json")), ("http.live", Some("/live"))];
    for (changes, ready, live) in [
        (vec![], &command, None),
        (vec![("http.live", Some("/live"))], &command, Some(http("/live", 8080))),
        (by_http.to_vec(), &http("/ready?format=json", 8080), Some(http("/live", 8080))),
        (
            [by_http.as_slice(), &[("probe-port", Some("9181"))]].concat(),
            &http("/ready?format=json", 9181),
            Some(http("/live", 9181)),
        ),
    ] {
        assert_eq!(probes(&changes), Ok(Probes { ready: ready.clone(), live }), "{changes:?}");
    }
    let both = probes(&[("http.ready", Some("/ready"))]).unwrap_err();
    assert_eq!(
        both.to_string(),
        "label dev.launchway.http.ready: there is dev.launchway.command.ready as well: state one of the two"
    );
    let none = probes(&[("command.ready", None), ("http.live", Some("/live"))]).unwrap_err();
    assert!(none.to_string().contains("and so is dev.launchway.http.ready"), "{none}");
}
