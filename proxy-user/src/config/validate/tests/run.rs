//! What is said of a whole run: limits, and where it is looked at.

use super::*;

#[test]
fn words_that_mean_nothing_are_refused_with_those_that_do() {
    type Case = (&'static str, fn(&mut RawConfig), &'static str);
    let cases: [Case; 4] = [
        ("--guard-hook", |raw| raw.guard_hook = "x".into(), "auto, native, generic or tc"),
        ("--reply", |raw| raw.reply = "x".into(), "route or arrival"),
        ("--source", |raw| raw.rules[0].upstream.source = "x".into(), "node or client"),
        ("--when-absent", |raw| raw.rules[0].when_absent = "x".into(), "pass or drop"),
    ];
    for (field, change, words) in cases {
        assert_eq!(refused(change), format!("{field} 'x' is not valid; write {words}"));
    }
    let mut raw = raw();
    (raw.guard_hook, raw.reply, raw.rules[0].when_absent) =
        ("native".into(), "arrival".into(), "drop".into());
    let settings = validate(&raw).unwrap();
    assert_eq!(settings.steering.guard_hook, GuardHook::Native);
    assert_eq!(settings.steering.reply, Reply::Arrival);
    assert_eq!(settings.rules[0].when_absent, WhenAbsent::Drop);
}

#[test]
fn where_a_run_is_looked_at() {
    let admin = |socket: &str, http: &str| {
        let mut raw = raw();
        raw.admin = RawAdmin { socket: socket.into(), http: http.into() };
        validate(&raw).map(|settings| settings.admin).map_err(|error| error.to_string())
    };
    let none = admin("none", "none").unwrap();
    assert_eq!((none.socket, none.http), (None, None));
    let both = admin("/run/a.sock", "[::1]:9478").unwrap();
    assert_eq!(both.socket.unwrap().to_str(), Some("/run/a.sock"));
    assert_eq!(both.http.unwrap().to_string(), "[::1]:9478");
    for path in ["", "a.sock", "/run/", &format!("/{}", "a".repeat(90))] {
        let message = admin(path, "none").unwrap_err();
        let field = format!("--admin-socket '{path}' is not valid; write an absolute path");
        assert!(message.starts_with(&field), "{message}");
    }
    for address in ["", "9478", "localhost:9478", "127.0.0.1", "127.0.0.1:0"] {
        let message = admin("none", address).unwrap_err();
        assert_eq!(
            message,
            format!(
                "--admin-http '{address}' is not valid; write an address with a port, such as \
                 127.0.0.1:9478, or none"
            )
        );
    }
}

#[test]
fn how_many_connections_there_may_be() {
    let limits = |connections: &str, per_source: &str| {
        let mut raw = raw();
        let (connections, per_source) = (connections.into(), per_source.into());
        raw.limits = RawLimits { connections, per_source, ..RawLimits::default() };
        validate(&raw).map(|settings| settings.limits).map_err(|error| error.to_string())
    };
    assert_eq!(limits("auto", "0"), Ok(ConnectionLimits::default()));
    let some = limits("16000", "100").unwrap();
    assert_eq!(some.connections.map(NonZeroU32::get), Some(16_000));
    assert_eq!(some.per_source.map(NonZeroU32::get), Some(100));
    for text in ["0", "-1", "many", "4294967296"] {
        let message = limits(text, "0").unwrap_err();
        let expected = format!("--max-connections '{text}' is not valid; write a number from 1");
        assert!(message.starts_with(&expected), "{message}");
    }
    let message = limits("auto", "none").unwrap_err();
    assert!(
        message.starts_with("--max-per-source 'none' is not valid; write a number"),
        "{message}"
    );
    for text in ["0", "129", "/64", "-1"] {
        assert_eq!(
            refused(|raw| raw.limits.ipv6_prefix = text.into()),
            format!(
                "--ipv6-prefix '{text}' is not valid; write how many bits of an IPv6 address make \
                 one client, from 1 to 128"
            )
        );
    }
}

#[test]
fn how_much_memory_their_buffers_may_take() {
    let memory = |text: &str| {
        let mut raw = raw();
        raw.limits.memory = text.into();
        validate(&raw).map(|settings| settings.limits.memory).map_err(|error| error.to_string())
    };
    let bytes = |bytes| Ok(NonZeroU64::new(bytes).map_or(MemoryLimit::Any, MemoryLimit::Bytes));
    assert_eq!(memory("auto"), Ok(MemoryLimit::Quarter));
    assert_eq!(memory("none"), Ok(MemoryLimit::Any));
    assert_eq!(memory("512MiB"), bytes(512 << 20));
    assert_eq!(memory("1 GiB"), bytes(1 << 30));
    assert_eq!(memory("16384KiB"), bytes(16 << 20));
    for text in ["", "0MiB", "16383KiB", "512", "512M", "-1MiB", "1.5GiB", "99999999999TiB"] {
        assert_eq!(
            memory(text),
            Err(format!(
                "--max-memory '{text}' is not valid; write a size such as 512MiB or 2GiB, of 16MiB or \
                 more, auto, or none"
            ))
        );
    }
}
