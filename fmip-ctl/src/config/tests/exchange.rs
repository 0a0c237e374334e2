//! Which changes of a file a running controller takes.

use super::*;

fn replacing(from: &str, to: &str) -> Result<(), String> {
    let running = parse(ROUTER).unwrap();
    assert!(ROUTER.contains(from), "{from:?} is not in the example");
    let new = parse(&ROUTER.replacen(from, to, 1)).unwrap();
    new.may_replace(&running, Path::new("f.toml"))
        .map_err(|error| error.to_string())
}

#[test]
fn neighbors_keys_limits_and_policies_may_change() {
    for (from, to) in [
        ("", ""),
        ("2001:db8:2::1", "2001:db8:2::2"),
        ("spi = 256", "spi = 257"),
        ("#max-handovers = 1024", "max-handovers = 10"),
        ("#addressing = \"stateless\"", "addressing = \"keep-pcoa\""),
        ("#departure = \"ignore\"", "departure = \"hold\""),
        ("#hi-retries = 3", "hi-retries = 4"),
        ("#enabled = true", "enabled = false"),
        ("#packets-per-node = 8192", "packets-per-node = 10"),
        ("#max-hold-ms = 10000", "max-hold-ms = 100"),
        ("#drain = \"paced\"", "drain = \"burst\""),
        ("#catch-up = 2.0", "catch-up = 3.0"),
    ] {
        assert_eq!(replacing(from, to), Ok(()), "{to}");
    }
}

#[test]
fn what_only_a_restart_changes_is_refused_by_name() {
    for (from, to, key) in [
        (
            "#max-bindings = 65536",
            "max-bindings = 100000",
            "access-router.max-bindings",
        ),
        (
            "#control-socket = \"/run/fmip/control.sock\"",
            "control-socket = \"/run/x\"",
            "control-socket",
        ),
        ("\"core0\"", "\"core1\"", "access-router.core-interfaces"),
        ("\"acc0\"", "\"acc1\"", "access-router.access.interface"),
        (
            "#attach = \"auto\"",
            "attach = \"tc\"",
            "access-router.access.attach",
        ),
        (
            "core-interfaces = [\"core0\"]",
            "core = [{ interface = \"core0\", attach = \"native\" }]",
            "access-router.core.attach",
        ),
        (
            "#state-directory = \"/var/lib/fmip\"",
            "state-directory = \"/var/lib/x\"",
            "access-router.state-directory",
        ),
        (
            "#max-handovers = 1024",
            "max-handovers = 40000",
            "access-router.max-handovers (and with it max-bindings)",
        ),
        (
            "#packets-per-node = 8192",
            "packets-per-node = 4",
            "buffer.packets-per-node (and with it guaranteed-per-node)",
        ),
        ("#packets = 16384", "packets = 20000", "buffer.packets"),
        ("#nodes = 1024", "nodes = 1000", "buffer.nodes"),
        (
            "#guaranteed-per-node = 8",
            "guaranteed-per-node = 4",
            "buffer.guaranteed-per-node",
        ),
    ] {
        assert_eq!(
            replacing(from, to),
            Err(format!(
                "f.toml: {key}: cannot change while the controller runs: put back the old value, \
                 or restart it"
            ))
        );
    }
}

#[test]
fn a_mobile_node_and_another_role_take_a_restart() {
    let (router, node) = (parse(ROUTER).unwrap(), parse(NODE).unwrap());
    for (running, new, key) in [
        (&router, &node, "role"),
        (&node, &router, "role"),
        (&node, &node, "mobile-node"),
    ] {
        let error = new.may_replace(running, Path::new("f.toml")).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("f.toml: {key}: ")),
            "{error}"
        );
    }
}
