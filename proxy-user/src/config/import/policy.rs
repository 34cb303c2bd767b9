//! What kgateway's policies ask for about PROXY headers. Their fields are those of its
//! `v1alpha1`; of the earlier spelling `spec.options`, which its documentation has, too.

use std::time::Duration;

use super::BadDocument;
use super::counterpart::{BACKEND, LISTENER, Note, OBJECT, untaken};
use super::tree::{Fields, Node, Object, Value};
use crate::config::settings::Mode;
use crate::header::Version;

const GROUP: &str = "gateway.kgateway.dev";
const VERSION: &str = "v1alpha1";

/// What is said of an object in the result.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// Such as `gateway.yaml, document 1: ListenerPolicy kgateway-system/proxy-protocol`.
    pub heading: String,
    /// What became of it.
    pub outcome: String,
    pub notes: Vec<Note>,
}

/// How some listeners of a Gateway take connections.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    /// The policy's, with the port if it is for one.
    pub name: String,
    /// Whence it is, such as `ListenerPolicy default/web, spec.default`.
    pub origin: String,
    /// Whose ports these are, in words.
    pub targets: String,
    /// Of `perPort`.
    pub port: Option<u16>,
    /// Ports that `perPort` takes out of the default.
    pub without: Vec<u16>,
    pub mode: Mode,
}

/// How some backends are connected to.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub name: String,
    pub origin: String,
    /// Who gets the header, in words.
    pub targets: String,
    pub version: Version,
    pub connect_timeout: Option<String>,
}

/// What an object asks for.
#[derive(Debug)]
pub(super) enum Asked {
    Listeners(Vec<Listener>),
    Backend(Backend),
    Nothing,
}

/// An object's name.
struct Identity {
    name: String,
    words: String,
}

/// Reads an object, whatever it is.
pub(super) fn read(source: &str, object: Object) -> Result<(Account, Asked), BadDocument> {
    let Object { document, kind, mut fields } = object;
    let position = fields.position;
    let api = fields.text("apiVersion")?.unwrap_or_default();
    let (group, version) = api.split_once('/').unwrap_or(("", &api));
    let is_policy = group == GROUP && matches!(&*kind, "ListenerPolicy" | "BackendConfigPolicy");
    if is_policy && version != VERSION {
        let message = format!("apiVersion {api} is not known; {GROUP}/{VERSION} is");
        return Err(fields.bad(position, message));
    }
    if !is_policy {
        let heading = format!("{source}, {document}: {}", title(&kind, &mut fields));
        let outcome = format!("skipped; {}", skipped(group, &kind));
        return Ok((Account { heading, outcome, notes: Vec::new() }, Asked::Nothing));
    }
    let (identity, mut notes) = identity(&kind, &mut fields)?;
    let heading = format!("{source}, {document}: {}", identity.words);
    let spec = fields.map("spec")?;
    notes.extend(untaken("", fields, OBJECT));
    let Some(spec) = spec else {
        let outcome = "it asks for nothing: it has no spec".to_owned();
        return Ok((Account { heading, outcome, notes }, Asked::Nothing));
    };
    let (outcome, asked, more) = if kind == "ListenerPolicy" {
        listener_policy(&identity, spec)?
    } else {
        backend_policy(&identity, spec)?
    };
    notes.extend(more);
    Ok((Account { heading, outcome: outcome.to_owned(), notes }, asked))
}

/// Takes what an object says of itself. Labels and the like share one note.
fn identity(kind: &str, fields: &mut Fields) -> Result<(Identity, Vec<Note>), BadDocument> {
    let Some(mut metadata) = fields.map("metadata")? else {
        return Err(fields.bad(fields.position, "metadata is missing"));
    };
    let name = metadata.required("name")?;
    let words = words(kind, metadata.text("namespace")?, &name);
    let mut paths: Vec<_> =
        metadata.rest().into_iter().map(|(key, _)| format!("metadata.{key}")).collect();
    paths.extend(fields.take("status").map(|_| "status".to_owned()));
    let instead = "about the object itself, not about connections".to_owned();
    let notes = if paths.is_empty() { Vec::new() } else { vec![Note { paths, instead }] };
    Ok((Identity { name, words }, notes))
}

fn words(kind: &str, namespace: Option<String>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// What an object that isn't read is called, as far as it can be told.
fn title(kind: &str, fields: &mut Fields) -> String {
    let Ok(Some(mut metadata)) = fields.map("metadata") else { return kind.to_owned() };
    match (metadata.text("namespace"), metadata.text("name")) {
        (Ok(namespace), Ok(Some(name))) => words(kind, namespace, &name),
        _ => kind.to_owned(),
    }
}

/// What to do instead of an object that is no policy of ours.
fn skipped(group: &str, kind: &str) -> &'static str {
    match (group, kind) {
        ("gateway.networking.k8s.io", "Gateway") => {
            "the ports of its listeners belong in a rule's ports"
        }
        ("gateway.networking.k8s.io", _) if kind.ends_with("Route") => {
            "routes aren't read; which ports lead to which server is for you to write, as a rule's \
             ports and upstream.address"
        }
        ("", "Service") | (GROUP, "Backend") => {
            "if connections are to go there, whatever their destination, its address and port belong \
             in a rule's upstream.address"
        }
        (GROUP, _) => "it says nothing about PROXY headers",
        _ => "only kgateway's ListenerPolicy and BackendConfigPolicy are read",
    }
}

type Reading = (&'static str, Asked, Vec<Note>);

fn listener_policy(identity: &Identity, mut spec: Fields) -> Result<Reading, BadDocument> {
    let (targets, mut notes) = targets(&mut spec, |targets| {
        format!("write the ports of {targets} into the rule's ports: objects aren't looked up")
    })?;
    let mut listeners = Vec::new();
    let mut add = |name: String, config: Fields, port: Option<u16>| {
        let origin = format!("{}, {}", identity.words, config.path);
        let (mode, told) = mode(config)?;
        let targets = targets.clone();
        notes.extend(told);
        listeners.push(Listener { name, origin, targets, port, without: Vec::new(), mode });
        Ok(())
    };
    if let Some(config) = default(&mut spec)? {
        add(identity.name.clone(), config, None)?;
    }
    let mut unknown = Vec::new();
    for mut entry in spec.maps("perPort")? {
        let port = port(&mut entry)?;
        let missing = format!("{} is missing", entry.path_of("listener"));
        let config = entry.map("listener")?.ok_or_else(|| entry.bad(entry.position, missing))?;
        unknown.extend(untaken("", entry, OBJECT));
        add(format!("{}-{port}", identity.name), config, Some(port))?;
    }
    set_apart(&spec, &mut listeners)?;
    unknown.extend(untaken("", spec, LISTENER));
    notes.extend(unknown);
    let outcome = if listeners.iter().all(|listener| listener.mode == Mode::Off) {
        "it asks for no header"
    } else {
        "see the rules"
    };
    Ok((outcome, Asked::Listeners(listeners), notes))
}

/// The configuration of all listeners for which there is no other.
fn default(spec: &mut Fields) -> Result<Option<Fields>, BadDocument> {
    let default = spec.map("default")?;
    let Some(options) = spec.map("options")? else { return Ok(default) };
    if default.is_some() {
        let message = "spec.options is an earlier name of spec.default; write one of them";
        return Err(options.bad(options.position, message));
    }
    Ok(Some(options))
}

fn port(entry: &mut Fields) -> Result<u16, BadDocument> {
    let path = entry.path_of("port");
    let node = entry
        .take("port")
        .ok_or_else(|| entry.bad(entry.position, format!("{path} is missing")))?;
    let port = match &node.value {
        Value::Number(number) => number.parse().ok().filter(|port| *port > 0),
        _ => None,
    };
    port.ok_or_else(|| {
        entry.bad(node.position, format!("{path} is not valid; write a port from 1 to 65535"))
    })
}

/// Each port has one configuration: its own, or the default.
fn set_apart(spec: &Fields, listeners: &mut [Listener]) -> Result<(), BadDocument> {
    let mut ports: Vec<u16> = listeners.iter().filter_map(|listener| listener.port).collect();
    ports.sort_unstable();
    if let Some([twice, _]) = ports.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!("spec.perPort has port {twice} twice; leave one out");
        return Err(spec.bad(spec.position, message));
    }
    for listener in listeners.iter_mut().filter(|listener| listener.port.is_none()) {
        listener.without.clone_from(&ports);
    }
    Ok(())
}

/// Whether a listener's configuration has it read headers.
fn mode(mut config: Fields) -> Result<(Mode, Vec<Note>), BadDocument> {
    let mut notes = Vec::new();
    let written_as_null = null(&config, "proxyProtocol");
    let mode = match config.map("proxyProtocol")? {
        None => {
            let instead = "it has no proxyProtocol, so no header is read";
            notes.push(written_as_null.unwrap_or_else(|| Note::of(config.path.clone(), instead)));
            Mode::Off
        }
        Some(mut header) => {
            let optional = header.truth("allowRequestsWithoutProxyProtocol")?.unwrap_or(false);
            notes.extend(untaken("proxyProtocol", header, LISTENER));
            if optional { Mode::Optional } else { Mode::Require }
        }
    };
    notes.extend(untaken("", config, LISTENER));
    Ok((mode, notes))
}

/// A note on a field that is there and null.
fn null(fields: &Fields, key: &str) -> Option<Note> {
    let instead = "null counts as left out, so no header is asked for; write {} if one should be";
    fields.is_null(key).then(|| Note::of(fields.path_of(key), instead))
}

fn backend_policy(identity: &Identity, mut spec: Fields) -> Result<Reading, BadDocument> {
    let (targets, mut notes) = targets(&mut spec, |targets| {
        format!(
            "write the address of {targets} into the rule's upstream.address, unless clients connect \
             to it: objects aren't looked up"
        )
    })?;
    notes.extend(null(&spec, "upstreamProxyProtocol"));
    let Some(mut header) = spec.map("upstreamProxyProtocol")? else {
        notes.extend(untaken("", spec, BACKEND));
        return Ok(("it asks for no header, so it gets no rule", Asked::Nothing, notes));
    };
    let backend = Backend {
        name: identity.name.clone(),
        origin: identity.words.clone(),
        targets,
        version: version(&mut header)?,
        connect_timeout: connect_timeout(&mut spec)?,
    };
    notes.extend(untaken("upstreamProxyProtocol", header, BACKEND));
    notes.extend(untaken("", spec, BACKEND));
    Ok(("see the rules", Asked::Backend(backend), notes))
}

/// V1 is what kgateway writes if nothing is said.
fn version(header: &mut Fields) -> Result<Version, BadDocument> {
    let position = header.position_of("version");
    match header.text("version")?.as_deref() {
        None | Some("V1") => Ok(Version::V1),
        Some("V2") => Ok(Version::V2),
        Some(other) => {
            let path = header.path_of("version");
            Err(header.bad(position, format!("{path} '{other}' is not valid; write V1 or V2")))
        }
    }
}

fn connect_timeout(spec: &mut Fields) -> Result<Option<String>, BadDocument> {
    let position = spec.position_of("connectTimeout");
    let Some(text) = spec.text("connectTimeout")? else { return Ok(None) };
    match humantime::parse_duration(&text) {
        Ok(time) if time > Duration::ZERO => Ok(Some(text)),
        _ => {
            let path = spec.path_of("connectTimeout");
            let fix = "write a time above 0 with its unit, such as 5s";
            Err(spec.bad(position, format!("{path} '{text}' is not valid; {fix}")))
        }
    }
}

/// Takes what a policy is attached to: in words, and with a note on what to do instead.
fn targets(
    spec: &mut Fields,
    instead: impl Fn(&str) -> String,
) -> Result<(String, Vec<Note>), BadDocument> {
    let mut words = Vec::new();
    let mut paths = Vec::new();
    let mut notes = Vec::new();
    for key in ["targetRefs", "targetSelectors"] {
        for mut target in spec.maps(key)? {
            paths.push(target.path.clone());
            target.take("group");
            let kind = target.required("kind")?;
            let who = match key {
                "targetRefs" => format!("{kind} {}", target.required("name")?),
                _ => format!("each {kind}{}", labels(&mut target)?),
            };
            words.push(match target.text("sectionName")? {
                Some(section) => format!("section {section} of {who}"),
                None => who,
            });
            notes.extend(untaken("", target, OBJECT));
        }
    }
    if words.is_empty() {
        return Ok(("whatever it is attached to, which it doesn't say".to_owned(), notes));
    }
    let words = words.join(", ");
    notes.insert(0, Note { paths, instead: instead(&words) });
    Ok((words, notes))
}

fn labels(target: &mut Fields) -> Result<String, BadDocument> {
    let Some(labels) = target.map("matchLabels")? else { return Ok(String::new()) };
    let label = |(key, node): (String, Node)| match node.value {
        Value::Text(text) => format!("{key}={text}"),
        _ => key,
    };
    let labels: Vec<_> = labels.rest().into_iter().map(label).collect();
    Ok(format!(" labelled {}", labels.join(",")))
}
