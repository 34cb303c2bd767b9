//! What comes out, to the letter, and what is refused. The documents are those of kgateway's
//! documentation, and some that have everything.

use proptest::prelude::*;
use serde_json::json;

use super::policy::Backend;
use super::tree::{Node, Value};
use super::*;
use crate::config::{Syntax, file, validate};

/// A document, and the file that is made of it.
macro_rules! data {
    ($($name:literal),+ $(,)?) => {
        [$((
            concat!($name, ".yaml"),
            include_str!(concat!("../../../tests/data/import/", $name, ".yaml")),
            include_str!(concat!("../../../tests/data/import/", $name, ".out.yaml")),
        )),+]
    };
}

const DATA: [(&str, &str, &str); 7] = data![
    "listener",
    "listener-optional",
    "listener-options",
    "backend",
    "several-backends",
    "apart",
    "every-field",
];

fn import(source: &str, text: &str) -> Import {
    let mut reader = Reader::default();
    reader.read(source, text).unwrap();
    reader.finish()
}

fn refused(text: &str) -> (String, Option<(u64, u64)>) {
    let error = Reader::default().read("it", text).unwrap_err();
    (error.to_string(), error.position.map(|position| (position.line, position.column)))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Everything that is blank, with a port of its own for each rule.
fn blanks(import: &Import) -> Blanks {
    let open = import.rules.iter().filter(|rule| !rule.knows_ports);
    let reads = import.rules.iter().any(|rule| rule.mode != Mode::Off);
    Blanks {
        interfaces: words(&["eth0", "eni*"]),
        ports: open.enumerate().map(|(n, rule)| format!("{}={}", rule.name, 1000 + n)).collect(),
        trusted: words(if reads { &["10.0.0.0/24", "fd00::/8"] } else { &[] }),
    }
}

#[test]
fn each_document_becomes_its_file() {
    for (name, text, expected) in DATA {
        assert_eq!(import(name, text).to_string(), expected, "{name}");
    }
}

#[test]
fn a_blank_is_refused_and_a_filled_one_is_not() {
    for (name, text, expected) in DATA {
        let blank = file::parse(expected).unwrap();
        assert!(validate(&blank, Syntax::File).is_err(), "{name}");
        let mut import = import(name, text);
        assert!(!import.is_complete(), "{name}");
        import.fill(blanks(&import)).unwrap();
        assert!(import.is_complete(), "{name}");
        let written = import.to_string();
        assert!(!written.contains("FILL IN"), "{written}");
        let settings = validate(&file::parse(&written).unwrap(), Syntax::File).unwrap();
        for (rule, imported) in settings.rules.iter().zip(&import.rules) {
            assert_eq!(rule.inbound.mode, imported.mode);
            assert_eq!(rule.outbound.version, imported.version);
        }
    }
}

/// Fields that became a word of ours, or of the comments.
const TAKEN: [&str; 13] = [
    "apiVersion",
    "kind",
    "metadata.name",
    "metadata.namespace",
    "spec.default.proxyProtocol",
    "spec.default.proxyProtocol.allowRequestsWithoutProxyProtocol",
    "spec.options.proxyProtocol.allowRequestsWithoutProxyProtocol",
    "spec.perPort[0].port",
    "spec.perPort[1].port",
    "spec.perPort[0].listener.proxyProtocol.allowRequestsWithoutProxyProtocol",
    "spec.perPort[0].listener.proxyProtocol",
    "spec.upstreamProxyProtocol",
    "spec.upstreamProxyProtocol.version",
];

fn leaves(path: &str, node: &Node, found: &mut Vec<String>) {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            for (key, node) in entries {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(&format!("{path}{dot}{key}"), node, found);
            }
        }
        Value::List(items) if !items.is_empty() => {
            for (index, node) in items.iter().enumerate() {
                leaves(&format!("{path}[{index}]"), node, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// Whether it is this field, or in it.
fn is_within(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[test]
fn no_field_is_dropped_in_silence() {
    let mut count = 0;
    for (name, text, _) in DATA {
        for object in tree::objects(text).unwrap() {
            let mut found = Vec::new();
            for (key, node) in object.fields.clone().rest() {
                leaves(&key, &node, &mut found);
            }
            let (account, asked) = policy::read(name, object).unwrap();
            if account.outcome.starts_with("skipped") {
                continue;
            }
            let mut told: Vec<_> = account.notes.into_iter().flat_map(|note| note.paths).collect();
            if let Asked::Backend(Backend { connect_timeout: Some(_), .. }) = asked {
                told.push("spec.connectTimeout".to_owned());
            }
            for path in found {
                count += 1;
                let is_told = told.iter().any(|field| is_within(&path, field));
                assert!(is_told || TAKEN.contains(&path.as_str()), "{name}: {path}");
            }
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn what_is_wrong_is_named_with_its_document_and_place() {
    let policy = |kind: &str, spec: &str| {
        format!(
            "kind: Service\nmetadata: {{ name: x }}\n---\n---\napiVersion: \
             gateway.kgateway.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: x }}\nspec:\n  {spec}\n"
        )
    };
    let listener = |spec: &str| refused(&policy("ListenerPolicy", spec));
    let backend = |spec: &str| refused(&policy("BackendConfigPolicy", spec));
    for ((message, position), expected, place) in [
        (
            listener("default: { proxyProtocol: { allowRequestsWithoutProxyProtocol: \"yes\" } }"),
            "spec.default.proxyProtocol.allowRequestsWithoutProxyProtocol is not valid; write true \
             or false",
            (9, 66),
        ),
        (
            listener("default: { proxyProtocol: true }"),
            "spec.default.proxyProtocol is no map of fields",
            (9, 29),
        ),
        (
            listener("perPort: [{ port: 65536, listener: {} }]"),
            "spec.perPort[0].port is not valid; write a port from 1 to 65535",
            (9, 21),
        ),
        (listener("perPort: [{ port: 1 }]"), "spec.perPort[0].listener is missing", (9, 13)),
        (
            listener("perPort: [{ port: 1, listener: {} }, { port: 1, listener: {} }]"),
            "spec.perPort has port 1 twice; leave one out",
            (9, 3),
        ),
        (listener("targetRefs: http"), "spec.targetRefs is no list", (9, 15)),
        (
            listener("{ default: {}, options: {} }"),
            "spec.options is an earlier name of spec.default; write one of them",
            (9, 27),
        ),
        (
            backend("upstreamProxyProtocol: { version: v1 }"),
            "spec.upstreamProxyProtocol.version 'v1' is not valid; write V1 or V2",
            (9, 37),
        ),
        (
            backend("{ upstreamProxyProtocol: {}, connectTimeout: 0s }"),
            "spec.connectTimeout '0s' is not valid; write a time above 0 with its unit, such as 5s",
            (9, 48),
        ),
    ] {
        assert_eq!(message, format!("document 2: {expected}"));
        assert_eq!(position, Some(place), "{message}");
    }
}

#[test]
fn what_is_no_object_is_refused() {
    for (text, expected) in [
        ("kind: [", "document 1: "),
        ("just text", "document 1: this is no Kubernetes object: it has no fields"),
        ("metadata: { name: x }", "document 1: kind is missing"),
        (
            "kind: List\nitems: [{ kind: Pod }, 5]",
            "document 1, item 2: this is no Kubernetes object",
        ),
        ("kind: List\nitems: 5", "document 1: items is no list"),
        ("kind: Pod\nkind: Pod", "document 1: duplicate mapping key: kind"),
        (
            "apiVersion: gateway.kgateway.dev/v1\nkind: ListenerPolicy",
            "document 1: apiVersion gateway.kgateway.dev/v1 is not known; \
             gateway.kgateway.dev/v1alpha1 is",
        ),
        (
            "apiVersion: gateway.kgateway.dev/v1alpha1\nkind: ListenerPolicy",
            "document 1: metadata is missing",
        ),
    ] {
        let (message, position) = refused(text);
        assert!(message.starts_with(expected), "{message}");
        assert!(position.is_some(), "{message}");
    }
}

#[test]
fn without_a_policy_that_asks_for_headers_there_is_no_rule() {
    for text in ["", "---\n---\n", "kind: Pod", "kind: List\nitems: []", "kind: Pod\nmetadata: 5"] {
        assert!(!import("it", text).has_rules(), "{text}");
    }
    let (_, text, _) = DATA[0];
    assert!(!import("it", &text.replace("proxyProtocol: {}", "httpSettings: {}")).has_rules());
}

#[test]
fn json_is_read_as_well() {
    let (_, text, _) = DATA[0];
    let value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [value] });
    let written = import("it", &list.to_string()).to_string();
    assert!(written.contains("  - name: proxy-protocol\n"), "{written}");
}

#[test]
fn ports_go_where_none_are() {
    let fill = |name: &str, ports: &[&str]| {
        let (_, text, _) = DATA.into_iter().find(|(it, ..)| *it == name).unwrap();
        let mut import = import(name, text);
        let filled = import.fill(Blanks { ports: words(ports), ..Blanks::default() });
        filled.map(|()| import.rules.into_iter().map(|rule| rule.ports).collect::<Vec<_>>())
    };
    let refused = |name, ports| fill(name, ports).unwrap_err().to_string();
    assert_eq!(fill("listener.yaml", &["80", "90-95"]).unwrap(), [["80", "90-95"]]);
    assert_eq!(fill("every-field.yaml", &["edge=80"]).unwrap(), [["80"], ["8443"], ["9443"]]);
    assert_eq!(fill("several-backends.yaml", &["web=80", "mail=25"]).unwrap(), [["25"], ["80"]]);
    assert_eq!(
        refused("several-backends.yaml", &["80"]),
        "--port '80' is not valid; write RULE=80, with one of these rules: mail, web"
    );
    assert_eq!(
        refused("every-field.yaml", &["edge-8443=80"]),
        "--port 'edge-8443=80' is not valid; the rules without ports are edge"
    );
}

#[test]
fn trust_without_a_reader_is_refused() {
    let (name, text, _) = DATA[3];
    let blanks = Blanks { trusted: words(&["10.0.0.0/8"]), ..Blanks::default() };
    assert_eq!(
        import(name, text).fill(blanks).unwrap_err().to_string(),
        "--trust '10.0.0.0/8' is not valid; leave it out: no rule reads headers"
    );
}

proptest! {
    /// Whatever documents and flags say: what is written can be read, and says nothing else.
    #[test]
    fn no_text_breaks_out(name in ".*", label in ".*", flag in ".+", source in ".*") {
        prop_assume!(!name.is_empty());
        let policy = json!({
            "apiVersion": "gateway.kgateway.dev/v1alpha1",
            "kind": "ListenerPolicy",
            "metadata": { "name": name, "namespace": label, label.clone(): 1 },
            "spec": {
                "targetRefs": [{ "kind": label, "name": name, label.clone(): name }],
                "default": { "proxyProtocol": {} },
            },
        });
        let mut reader = Reader::default();
        // A name may be one of the fields, and of another kind then.
        prop_assume!(reader.read(&source, &policy.to_string()).is_ok());
        let mut import = reader.finish();
        let flag = flag.replace('=', "-");
        import.fill(Blanks {
            interfaces: vec![flag.clone()],
            ports: vec![flag.clone()],
            trusted: vec![flag.clone()],
        }).unwrap();
        let config = file::parse(&import.to_string()).unwrap();
        prop_assert_eq!(&*config.interfaces[0], flag.as_str());
        let [rule] = config.rules.as_slice() else { panic!("{import}") };
        prop_assert_eq!(&*rule.ports[0], flag.as_str());
        prop_assert_eq!(&*rule.inbound.trusted[0], flag.as_str());
    }
}
