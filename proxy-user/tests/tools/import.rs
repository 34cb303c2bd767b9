//! From documents to a file that `foreword check` takes, and mistakes on the way.

use std::fs;
use std::path::Path;

use crate::{Run, foreword};

/// Those of kgateway's documentation, and the rest that the unit tests have.
const DOCUMENTS: [(&str, &[&str]); 7] = [
    ("listener", &["--port", "80,443", "--trust", "10.0.0.0/24"]),
    ("listener-optional", &["--port", "80,443", "--trust", "10.0.0.0/24"]),
    ("listener-options", &["--port", "8080", "--trust", "0.0.0.0/0,::/0"]),
    ("backend", &["--port", "9090"]),
    ("several-backends", &["--port", "mail=25,web=80,web=8000-8010", "--trust", "fd00::/8"]),
    ("apart", &["--port", "edge=80", "--port", "edge-2=8025,web=81", "--trust", "10.0.0.0/24"]),
    ("every-field", &["--port", "443", "--trust", "10.0.0.0/24"]),
];

fn document(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import");
    folder.join(name).with_extension("yaml").to_str().unwrap().to_owned()
}

/// What `foreword check` says of this file.
fn check(text: &str) -> Run {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    foreword(&["check", file.path().to_str().unwrap()], b"")
}

#[test]
fn with_what_they_cannot_know_documents_become_a_file_that_check_takes() {
    for (name, flags) in DOCUMENTS {
        let path = document(name);
        let arguments = [&["import", &path, "--interface", "eth0,eni*"], flags].concat();
        let run = foreword(&arguments, b"");
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{name}");
        let checked = check(&run.stdout);
        assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{name}: {}", run.stdout);
        assert!(checked.stdout.contains("\ninterfaces   eth0, eni*\n"), "{}", checked.stdout);
    }
}

#[test]
fn without_it_check_names_what_is_blank() {
    for (name, _) in DOCUMENTS {
        let run = foreword(&["import", &document(name)], b"");
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{name}");
        assert!(run.stdout.contains("# FILL IN: "), "{}", run.stdout);
        let checked = check(&run.stdout);
        assert_eq!(checked.code, 2, "{name}");
        let blank = ["ports is missing; name the ports", "needs inbound.trusted: name the load"];
        assert!(blank.iter().any(|words| checked.stderr.contains(words)), "{}", checked.stderr);
    }
}

#[test]
fn several_files_and_standard_input_are_one_configuration() {
    let listener = document("listener");
    let backend = fs::read(document("backend")).unwrap();
    let flags = ["--interface", "eth0", "--port", "9090", "--trust", "10.0.0.0/24"];
    let run = foreword(&[&["import", &listener, "-"], &flags[..]].concat(), &backend);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.contains("# standard input, document 3: BackendConfigPolicy"));
    let checked = check(&run.stdout);
    for line in [
        "rule proxy-protocol\n",
        "  header     v1 or v2, within 5s, 4096 bytes at most; without one, a connection is closed\n",
        "  it is told client and destination, in a v1 line\n",
    ] {
        assert!(checked.stdout.contains(line), "{}", checked.stdout);
    }
    let implied = foreword(&["import"], &backend);
    assert_eq!(implied.stdout, foreword(&["import", "-"], &backend).stdout);
    assert_eq!(implied.code, 0);
}

#[test]
fn what_cannot_be_imported_is_named() {
    let wrong =
        b"kind: Pod\n---\napiVersion: gateway.kgateway.dev/v1alpha1\nkind: ListenerPolicy\n\
                  metadata: { name: x }\nspec: { default: { proxyProtocol: yes please } }\n";
    let listener = document("listener");
    let fills = ["--interface", "eth0", "--trust", "10.0.0.0/24", "--port"];
    let with = |more: &[&'static str]| foreword(&[&["import", &listener], more].concat(), b"");
    for (run, message) in [
        (
            foreword(&["import"], wrong),
            "standard input:6:35: document 2: spec.default.proxyProtocol is no map of fields",
        ),
        (
            foreword(&["import"], b"kind: Pod\n"),
            "nothing here asks for PROXY headers; name the files with a ListenerPolicy that has \
             spec.default.proxyProtocol or a BackendConfigPolicy that has spec.upstreamProxyProtocol",
        ),
        (
            with(&[&fills[..], &["80x"]].concat()),
            "rule proxy-protocol: ports '80x' is not valid; write a port from 1 to 65535, or a \
             range such as 8000-8010",
        ),
        (
            with(&[&fills[..], &["other=80"]].concat()),
            "--port 'other=80' is not valid; the rules without ports are proxy-protocol",
        ),
    ] {
        assert_eq!((run.code, run.stdout.as_str()), (2, ""));
        assert_eq!(run.stderr, format!("error: {message}\n"));
    }
    let run = foreword(&["import", "/nonexistent"], b"");
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.starts_with("error: cannot read /nonexistent: "), "{}", run.stderr);
}
