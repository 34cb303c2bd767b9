//! Which connections are made, and in which order.

use super::message::{HeaderKind, Request};
use super::reply::{Kind, Reply};
use crate::header::Endpoints;

/// What is sent on all connections together.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    /// The header.
    pub header: HeaderKind,
    /// The question.
    pub request: Request,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeStep {
    /// Nothing is sent: does the server speak first?
    Silence,
    /// The request alone.
    Plain,
    /// A header and the request.
    HeaderAndRequest,
    /// A header, and nothing behind it.
    HeaderAlone,
    /// A malformed header and the request.
    MalformedAndRequest,
    /// A malformed header, and nothing behind it.
    MalformedAlone,
    /// [`ProbeStep::Silence`] again.
    SilenceAgain,
    /// [`ProbeStep::Plain`] again: does the upstream give the same answer twice?
    PlainAgain,
}

impl ProbeStep {
    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silence => "nothing sent",
            Self::Plain => "request",
            Self::HeaderAndRequest => "header, request",
            Self::HeaderAlone => "header",
            Self::MalformedAndRequest => "malformed, request",
            Self::MalformedAlone => "malformed",
            Self::SilenceAgain => "nothing again",
            Self::PlainAgain => "request again",
        }
    }

    /// Whether there is a question that a reply answers.
    pub const fn has_request(self) -> bool {
        matches!(
            self,
            Self::Plain | Self::HeaderAndRequest | Self::MalformedAndRequest | Self::PlainAgain
        )
    }
}

/// The answers, in a form that can be compared: the same question asked in four ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Whether the question was a TLS handshake.
    pub tls: bool,
    /// To the question alone.
    pub plain: Kind,
    /// To the question behind a header.
    pub header: Kind,
    /// To the question behind a malformed header.
    pub malformed: Kind,
    /// To a header with no question behind it; none if there was no other question.
    pub header_alone: Option<Kind>,
    /// To the question alone, asked last.
    pub again: Kind,
}

impl ProbePlan {
    /// The bytes of one connection between these endpoints.
    pub fn message(&self, step: ProbeStep, endpoints: Endpoints) -> Vec<u8> {
        let mut message = match step {
            ProbeStep::Silence
            | ProbeStep::SilenceAgain
            | ProbeStep::Plain
            | ProbeStep::PlainAgain => Vec::new(),
            ProbeStep::HeaderAndRequest | ProbeStep::HeaderAlone => {
                self.header.well_formed(endpoints)
            }
            ProbeStep::MalformedAndRequest | ProbeStep::MalformedAlone => {
                self.header.malformed(endpoints)
            }
        };
        if step.has_request() {
            message.extend_from_slice(self.request.as_bytes());
        }
        message
    }

    /// Asks everything, one connection after the other. A server that speaks first is asked for
    /// its greeting only, unless there is a request of the user's.
    pub fn conduct<E>(
        &self,
        mut ask: impl FnMut(ProbeStep) -> Result<Reply, E>,
    ) -> Result<Evidence, E> {
        let mut kind = |step| ask(step).map(|reply| reply.kind());
        if matches!(self.request, Request::Http(_)) {
            let plain = kind(ProbeStep::Silence)?;
            if plain != Kind::Nothing {
                return Ok(Evidence {
                    tls: false,
                    plain,
                    header: kind(ProbeStep::HeaderAlone)?,
                    malformed: kind(ProbeStep::MalformedAlone)?,
                    header_alone: None,
                    again: kind(ProbeStep::SilenceAgain)?,
                });
            }
        }
        Ok(Evidence {
            tls: matches!(self.request, Request::Tls(_)),
            plain: kind(ProbeStep::Plain)?,
            header: kind(ProbeStep::HeaderAndRequest)?,
            header_alone: Some(kind(ProbeStep::HeaderAlone)?),
            malformed: kind(ProbeStep::MalformedAndRequest)?,
            again: kind(ProbeStep::PlainAgain)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::ReplyEnd;
    use super::*;

    /// The steps of a plan in which only `answered` gets a reply, and what they came to.
    fn steps(request: Request, answered: ProbeStep) -> (Vec<ProbeStep>, Evidence) {
        let plan = ProbePlan { header: HeaderKind::V1, request };
        let mut steps = Vec::new();
        let evidence = plan.conduct(|step| {
            steps.push(step);
            let bytes = if step == answered { b"220 hello".to_vec() } else { Vec::new() };
            Ok::<_, std::convert::Infallible>(Reply { bytes, end: ReplyEnd::Open })
        });
        (steps, evidence.unwrap())
    }

    #[test]
    fn a_silent_server_is_asked() {
        let (steps, evidence) = steps(Request::http("example.org"), ProbeStep::HeaderAndRequest);
        let expected = [
            ProbeStep::Silence,
            ProbeStep::Plain,
            ProbeStep::HeaderAndRequest,
            ProbeStep::HeaderAlone,
            ProbeStep::MalformedAndRequest,
            ProbeStep::PlainAgain,
        ];
        assert_eq!(steps, expected);
        let answer = Kind::Text(vec!["220".to_owned()], true);
        assert_eq!((evidence.plain, evidence.header), (Kind::Nothing, answer));
    }

    #[test]
    fn a_server_that_speaks_first_is_not() {
        let (steps, evidence) = steps(Request::http("example.org"), ProbeStep::Silence);
        let expected = [
            ProbeStep::Silence,
            ProbeStep::HeaderAlone,
            ProbeStep::MalformedAlone,
            ProbeStep::SilenceAgain,
        ];
        assert_eq!(steps, expected);
        assert_ne!(evidence.plain, Kind::Nothing);
    }

    #[test]
    fn a_request_of_the_users_is_always_sent() {
        for request in [Request::tls("example.org"), Request::own("PING").unwrap()] {
            let (steps, _) = steps(request, ProbeStep::Silence);
            assert_eq!(steps[..2], [ProbeStep::Plain, ProbeStep::HeaderAndRequest]);
        }
    }

    #[test]
    fn a_header_and_a_request_are_one_message() {
        let address = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
        let endpoints = Endpoints::new(address("192.0.2.1:4"), address("192.0.2.2:5"));
        let plan = ProbePlan { header: HeaderKind::V1, request: Request::own("PING").unwrap() };
        for (step, message) in [
            (ProbeStep::Silence, ""),
            (ProbeStep::Plain, "PING"),
            (ProbeStep::HeaderAndRequest, "PROXY TCP4 192.0.2.1 192.0.2.2 4 5\r\nPING"),
            (ProbeStep::HeaderAlone, "PROXY TCP4 192.0.2.1 192.0.2.2 4 5\r\n"),
            (ProbeStep::MalformedAndRequest, "PROXY TCP9 192.0.2.1 192.0.2.2 4 5\r\nPING"),
            (ProbeStep::MalformedAlone, "PROXY TCP9 192.0.2.1 192.0.2.2 4 5\r\n"),
            (ProbeStep::SilenceAgain, ""),
            (ProbeStep::PlainAgain, "PING"),
        ] {
            assert_eq!(plan.message(step, endpoints), message.as_bytes(), "{step:?}");
        }
    }
}
