//! What follows from the answers, and no more than that.

use std::fmt;

use super::plan::Evidence;
use super::reply::Kind;

/// What an upstream makes of PROXY headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answers behind a well-formed header, and only there.
    Requires,
    /// It answers with and without a header, and tells a good one from a malformed one.
    Accepts,
    /// It answers whatever is in front of the request.
    IgnoresOrAccepts,
    /// It answers without a header, and not in the same way behind one.
    Rejects,
    /// The answers don't show it.
    Unclear,
}

/// A word and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The conclusion.
    pub word: Outcome,
    /// What it rests on, in one sentence.
    pub why: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requires => "requires",
            Self::Accepts => "accepts",
            Self::IgnoresOrAccepts => "ignores-or-accepts",
            Self::Rejects => "rejects",
            Self::Unclear => "unclear",
        })
    }
}

/// Draws the conclusion.
pub fn judge(evidence: &Evidence) -> Verdict {
    let Evidence { tls, plain, header, malformed, again, .. } = evidence;
    if plain != again {
        let why = format!("the same question without a header got {plain}, and later {again}");
        return Verdict { word: Outcome::Unclear, why };
    }
    let (word, why) = match (serves(plain, *tls), serves(header, *tls)) {
        (false, true) => requires(evidence),
        (false, false) => neither(evidence),
        (true, false) => rejects(evidence),
        (true, true) if plain == header && plain == malformed => answers_anything(evidence),
        (true, true) if plain == header => (
            Outcome::Accepts,
            format!("{plain} with and without a header, and {malformed} behind a malformed one"),
        ),
        (true, true) if plain == malformed => requires(evidence),
        (true, true) if header == malformed => rejects(evidence),
        (true, true) => (
            Outcome::Unclear,
            format!(
                "three answers: {plain} without a header, {header} behind one, {malformed} behind \
                 a malformed one"
            ),
        ),
    };
    Verdict { word, why }
}

/// Whether the upstream has taken the question for one of its protocol. HTTP 400 and TLS alerts
/// are what garbage gets, too.
fn serves(kind: &Kind, tls: bool) -> bool {
    match kind {
        Kind::TlsHandshake => true,
        Kind::Nothing | Kind::TlsAlert(_) | Kind::Http(400) => false,
        Kind::Http(_) | Kind::Text(..) | Kind::Binary(..) => !tls,
    }
}

fn requires(Evidence { plain, header, malformed, .. }: &Evidence) -> (Outcome, String) {
    if header == malformed {
        let why = format!(
            "{plain} without a header, and {header} both behind one and behind a malformed one: \
             it may read headers leniently, or want more bytes"
        );
        return (Outcome::Unclear, why);
    }
    (Outcome::Requires, format!("{header} behind a header, {plain} without one"))
}

fn rejects(Evidence { plain, header, malformed, .. }: &Evidence) -> (Outcome, String) {
    let hint = if header == malformed {
        "as behind a malformed one: it takes this header for payload, or refuses it"
    } else {
        "other than behind a malformed one: perhaps it refuses headers from this address"
    };
    (Outcome::Rejects, format!("{plain} without a header, {header} behind one, {hint}"))
}

fn answers_anything(Evidence { plain, header_alone, .. }: &Evidence) -> (Outcome, String) {
    let hint = match header_alone {
        None | Some(Kind::Nothing) => "",
        Some(_) => "; it answers a header that stands alone, so it may take headers for payload",
    };
    let why = format!(
        "{plain} without a header, behind one and behind a malformed one{hint}; whether a header's \
         client is believed shows in the upstream's own log only"
    );
    (Outcome::IgnoresOrAccepts, why)
}

fn neither(Evidence { tls, plain, header, .. }: &Evidence) -> (Outcome, String) {
    let why = match (plain, header) {
        (Kind::Nothing, Kind::Nothing) if *tls => {
            "no reply to a TLS hello, with a header or without; perhaps it does not speak TLS, or \
             wants another header (--send)"
                .to_owned()
        }
        (Kind::Nothing, Kind::Nothing) => {
            "no reply, with a header or without; perhaps it wants another request (--request, \
             --tls) or another header (--send), or more time (--timeout)"
                .to_owned()
        }
        (Kind::TlsAlert(_), Kind::TlsAlert(_)) => format!(
            "{plain} without a header, {header} behind one; probe it by the name that its \
             certificate has"
        ),
        _ => format!(
            "{plain} without a header, {header} behind one; choose a request that it answers \
             (--request, --tls)"
        ),
    };
    (Outcome::Unclear, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Kind = Kind::Http(200);
    const BAD: Kind = Kind::Http(400);
    const NOTHING: Kind = Kind::Nothing;
    const HELLO: Kind = Kind::TlsHandshake;
    const ALERT: Kind = Kind::TlsAlert(Some(70));

    fn text(words: &[&str], is_open: bool) -> Kind {
        Kind::Text(words.iter().map(|&word| word.to_owned()).collect(), is_open)
    }

    fn judged(tls: bool, [plain, header, malformed]: [Kind; 3]) -> Verdict {
        let again = plain.clone();
        let header_alone = Some(NOTHING);
        judge(&Evidence { tls, plain, header, malformed, header_alone, again })
    }

    #[test]
    fn http() {
        use Outcome::{Accepts, IgnoresOrAccepts, Rejects, Requires, Unclear};
        for (answers, word) in [
            // nginx with `proxy_protocol`, HAProxy with `accept-proxy`.
            ([NOTHING, OK, NOTHING], Requires),
            // Both without.
            ([OK, BAD, BAD], Rejects),
            ([OK, NOTHING, NOTHING], Rejects),
            ([OK, Kind::Http(501), Kind::Http(501)], Rejects),
            // Optional headers; the malformed one is payload, or ends the connection.
            ([OK, OK, BAD], Accepts),
            ([OK, OK, NOTHING], Accepts),
            ([Kind::Http(404), Kind::Http(404), BAD], Accepts),
            ([OK, OK, OK], IgnoresOrAccepts),
            // A well-formed header is refused as from this address, a malformed one is payload.
            ([OK, NOTHING, BAD], Rejects),
            // A server that answers the lack of a header with an error of its own.
            ([BAD, OK, BAD], Requires),
            ([Kind::Http(403), OK, Kind::Http(403)], Requires),
            // Whatever is in front will do: that need not be a header.
            ([NOTHING, OK, OK], Unclear),
            ([OK, Kind::Http(403), BAD], Unclear),
            ([NOTHING, NOTHING, NOTHING], Unclear),
            ([BAD, BAD, BAD], Unclear),
            ([BAD, NOTHING, NOTHING], Unclear),
        ] {
            assert_eq!(judged(false, answers.clone()).word, word, "{answers:?}");
        }
    }

    #[test]
    fn tls() {
        use Outcome::{Accepts, IgnoresOrAccepts, Rejects, Requires, Unclear};
        for (answers, word) in [
            ([NOTHING, HELLO, NOTHING], Requires),
            ([ALERT, HELLO, ALERT], Requires),
            // nginx speaks HTTP to what is no TLS, HAProxy closes, OpenSSL alerts.
            ([HELLO, BAD, BAD], Rejects),
            ([HELLO, NOTHING, NOTHING], Rejects),
            ([HELLO, ALERT, ALERT], Rejects),
            ([HELLO, HELLO, ALERT], Accepts),
            ([HELLO, HELLO, HELLO], IgnoresOrAccepts),
            // An alert can mean the name or the garbage; a page can't be the reply to a hello.
            ([ALERT, ALERT, ALERT], Unclear),
            ([OK, OK, NOTHING], Unclear),
        ] {
            assert_eq!(judged(true, answers.clone()).word, word, "{answers:?}");
        }
    }

    #[test]
    fn servers_that_speak_first() {
        use Outcome::{Accepts, IgnoresOrAccepts, Rejects};
        let greeting = || text(&["220"], true);
        let complaint = || text(&["220", "500"], true);
        for (answers, word) in [
            // A header that is payload makes the server complain behind its greeting, or hang up.
            ([greeting(), complaint(), complaint()], Rejects),
            ([greeting(), text(&["220"], false), text(&["220"], false)], Rejects),
            ([greeting(), greeting(), text(&["220"], false)], Accepts),
            ([greeting(), greeting(), greeting()], IgnoresOrAccepts),
        ] {
            assert_eq!(judged(false, answers.clone()).word, word, "{answers:?}");
        }
    }

    #[test]
    fn an_upstream_that_changes_its_mind_shows_nothing() {
        for (plain, again) in [(NOTHING, OK), (OK, NOTHING), (OK, Kind::Http(503))] {
            let verdict = judge(&Evidence {
                tls: false,
                plain,
                header: OK,
                malformed: NOTHING,
                header_alone: None,
                again,
            });
            assert_eq!(verdict.word, Outcome::Unclear, "{verdict:?}");
        }
    }

    #[test]
    fn the_reason_says_what_was_seen() {
        let verdict = judged(false, [OK, OK, NOTHING]);
        let why = "HTTP 200 with and without a header, and no reply behind a malformed one";
        assert_eq!(verdict.why, why);
        let verdict = judged(false, [NOTHING, OK, BAD]);
        assert_eq!(verdict.why, "HTTP 200 behind a header, no reply without one");
        let verdict = judged(false, [OK, BAD, BAD]);
        assert!(verdict.why.ends_with("it takes this header for payload, or refuses it"));
        let verdict = judged(false, [OK, NOTHING, BAD]);
        assert!(verdict.why.ends_with("perhaps it refuses headers from this address"));
    }
}
