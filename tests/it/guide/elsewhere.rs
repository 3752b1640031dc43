//! What a page may say and no test can run here, each with its reason.

/// Programs by their first word. Ours is not among them, and cannot be put there: what such a line passes on to
/// `file-recycler` is still looked at by it (`--help` is added, so that nothing is done).
const ELSEWHERE: &[(&str, &str)] = &[
    ("apt", "changes the machine"),
    ("apt-get", "changes the machine"),
    ("aws", "needs an account"),
    ("cargo", "the build is a step of its own, before the tests"),
    ("cosign", "needs a published release"),
    ("createdb", "the database's own tool; a comment before the block does its work"),
    ("curl -L", "fetches a release"),
    ("deploy/docker/rootfs", "makes an image, of a program that was built for it"),
    ("deploy/local/demo", "has tests of its own; installs, and takes minutes"),
    ("deploy/local/drill", "has a test of its own (drill.rs); installs, and takes minutes"),
    ("deploy/local/up", "starts the servers that this test runs on"),
    ("deploy/local/down", "stops the servers that this test runs on"),
    ("deploy/local/test", "is what runs this test"),
    ("deploy/debian/build", "makes a package, of a program that was built for it"),
    ("deploy/rights/broker.sh", "run by rights/broker.rs, on a node of its own"),
    ("deploy/validate", "a phase of .ci/run"),
    ("dnf", "changes the machine"),
    ("docker", "no daemon here"),
    ("dpkg", "changes the machine"),
    ("dropdb", "the database's own tool; a comment before the block does its work"),
    ("helm", "no cluster here"),
    ("install", "changes the machine"),
    ("journalctl", "no systemd here"),
    ("kubectl", "no cluster here"),
    ("man", "needs the pages to be installed; comfort.rs looks at them"),
    ("mdbook", "a phase of .ci/run"),
    ("openssl", "makes certificates; the tests of TLS make their own"),
    ("pg_dump", "the database's own tool; a comment before the block does its work"),
    ("pg_restore", "the database's own tool; a comment before the block does its work"),
    ("podman", "no daemon here"),
    ("promtool", "a phase of .ci/run"),
    ("psql", "run by rights/, on a server of its own"),
    ("rabbitmqctl", "run by rights/broker.rs, on a node of its own"),
    ("sc.exe", "Windows"),
    ("set -a", "reads what the installed package has"),
    ("systemctl", "no systemd here"),
    ("systemd-analyze", "no systemd here"),
    ("useradd", "changes the machine"),
];

/// Why this line cannot run here; nothing where it can.
pub fn why(line: &str) -> Option<&'static str> {
    let line = after_variables(line.strip_prefix("sudo ").unwrap_or(line));
    let found = ELSEWHERE.iter().find(|(program, _)| {
        line.strip_prefix(program).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ';']))
    });
    found.map(|(_, why)| *why)
}

/// The line after `NAME=value` and `NAME='some values'` before its program.
fn after_variables(line: &str) -> &str {
    let Some((name, value)) = line.split_once('=') else { return line };
    let of_names = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    if name.is_empty() || !name.chars().all(of_names) {
        return line;
    }
    let quote = value.chars().next().filter(|first| "'\"".contains(*first));
    let rest = match quote {
        Some(quote) => value[1..].split_once(quote).map(|(_, rest)| rest),
        None => value.split_once(' ').map(|(_, rest)| rest),
    };
    rest.map_or(line, |rest| after_variables(rest.trim_start()))
}

/// What such a line passes on to our program, up to where its words end; elsewhere its name is that of a service, a pod or a
/// package.
pub fn passed_on(line: &str) -> Option<&str> {
    let called = [" -- file-recycler ", "/bin/file-recycler "];
    let (_, ours) = called.iter().find_map(|called| line.split_once(called))?;
    ours.split(['|', ';', '>', '&', '#', '\'', '"']).next().map(str::trim)
}

#[test]
fn no_command_of_ours_can_be_left_out() {
    for (program, why) in ELSEWHERE {
        assert!(!program.contains("file-recycler") && !why.is_empty(), "{program}");
    }
    for line in ["file-recycler status", "file-recycler listener install && kubectl get pods"] {
        assert_eq!(self::why(line), None, "{line}");
    }
    // However a program is called that is left out: by its first word alone.
    assert_eq!(self::why("kubectl-like status"), None);
    assert!(self::why("sudo systemctl restart file-recycler").is_some());
    assert!(self::why("RUSTFLAGS='-C a=b' cargo build").is_some());
    assert_eq!(self::why("URL=postgres://a@b/c X='docker 1' file-recycler status"), None);
    for line in [
        "kubectl exec pod -- /usr/bin/file-recycler status --json",
        "docker run x -- file-recycler status --json",
    ] {
        assert_eq!(passed_on(line), Some("status --json"));
    }
    assert_eq!(passed_on("docker build -t file-recycler ."), None);
}
