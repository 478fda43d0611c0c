//! What can go wrong between here and the API server, and what somebody can do about it.

use std::error::Error;
use std::time::Duration;

use kube::core::Status;

use super::bounded::TOO_LONG;
use super::kind::Kind;

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) error: String,
    /// Whether the watch may go on where it was; if not, a new connection and a new list begin.
    pub(super) resumable: bool,
    /// What was not allowed, if that is the reason.
    pub(super) verb: &'static str,
    /// How long the server wants to be left alone at least. Zero: the server did not say.
    pub(super) retry_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The kubeconfig or the service account cannot be read.
    Credentials,
    /// No answer, or not one to the end.
    Connection,
    Unauthorized,
    Forbidden,
    /// The server no longer knows where the watch was: routine after a long absence.
    Gone,
    /// 429, 5xx.
    Busy,
    /// Any other status, or an answer that cannot be understood.
    Answer,
}

impl Reason {
    pub(super) const ALL: [Reason; 7] = [
        Reason::Credentials,
        Reason::Connection,
        Reason::Unauthorized,
        Reason::Forbidden,
        Reason::Gone,
        Reason::Busy,
        Reason::Answer,
    ];

    /// As the metric names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Reason::Credentials => "credentials",
            Reason::Connection => "connection",
            Reason::Unauthorized => "unauthorized",
            Reason::Forbidden => "forbidden",
            Reason::Gone => "gone",
            Reason::Busy => "busy",
            Reason::Answer => "answer",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Reason::Credentials => "run in a pod with a service account, or name a kubeconfig_file or an api_server",
            Reason::Connection => {
                "check that the API server can be reached from here: address, network policy, certificates"
            }
            Reason::Unauthorized => "check the token or the certificate: the API server does not know who is asking",
            Reason::Forbidden => "bind the service account to a ClusterRole that may list and watch",
            Reason::Gone | Reason::Busy => "nothing: it is asked again",
            Reason::Answer => "check selectors and namespaces, and that the address is that of a Kubernetes API",
        }
    }

    fn of(code: u16) -> Self {
        match code {
            401 => Reason::Unauthorized,
            403 => Reason::Forbidden,
            410 => Reason::Gone,
            429 | 500.. => Reason::Busy,
            _ => Reason::Answer,
        }
    }
}

impl Failure {
    /// Said of a failure to do `verb`.
    pub(super) fn to(self, verb: &'static str) -> Self {
        Self { verb, ..self }
    }

    /// What somebody can do about it, where objects of `kind` are asked for.
    pub(super) fn advice(&self, kind: &Kind) -> String {
        match self.reason {
            Reason::Forbidden => {
                let (verb, plural, rule) = (self.verb, kind.plural, kind.rule());
                format!("may not {verb} {plural}: add to the rules of the ClusterRole of the service account: {rule}")
            }
            reason => reason.advice().to_string(),
        }
    }

    pub(super) fn credentials(error: String) -> Self {
        Self { reason: Reason::Credentials, error, resumable: false, verb: "", retry_after: Duration::ZERO }
    }

    pub(super) fn silence(error: &str) -> Self {
        Self {
            reason: Reason::Connection,
            error: error.to_string(),
            resumable: true,
            verb: "",
            retry_after: Duration::ZERO,
        }
    }

    /// A request failed. Only a server that has too much to do is asked the same again: else the connection itself may
    /// be at fault, its certificate or its address, and is made anew.
    pub(super) fn request(error: kube::Error) -> Self {
        let reason = match &error {
            kube::Error::Api(status) => Reason::of(status.code),
            kube::Error::SerdeError(_) => Reason::Answer,
            kube::Error::Auth(_) => Reason::Credentials,
            _ => Reason::Connection,
        };
        if !matches!(error, kube::Error::Api(_)) && chain(&error).contains(TOO_LONG) {
            return Self {
                reason: Reason::Answer,
                error: chain(&error),
                resumable: false,
                verb: "",
                retry_after: Duration::ZERO,
            };
        }
        let text = match &error {
            kube::Error::Api(status) => said(status),
            _ => chain(&error),
        };
        Self { reason, error: text, resumable: reason == Reason::Busy, verb: "", retry_after: Duration::ZERO }
    }

    /// An answer that cannot be understood.
    pub(super) fn answer(error: String) -> Self {
        Self { reason: Reason::Answer, error, resumable: false, verb: "", retry_after: Duration::ZERO }
    }

    /// An answer broke off in the middle.
    pub(super) fn cut_off(error: &std::io::Error) -> Self {
        let error = chain(error);
        match error.contains(TOO_LONG) {
            true => Self::answer(error),
            false => Self { reason: Reason::Connection, error, resumable: true, verb: "", retry_after: Duration::ZERO },
        }
    }

    /// The server ended a watch with an error: whatever it was, the watch cannot be trusted to go on.
    pub(super) fn in_stream(status: &Status) -> Self {
        Self {
            reason: Reason::of(status.code),
            error: said(status),
            resumable: false,
            verb: "",
            retry_after: Duration::ZERO,
        }
    }
}

fn said(status: &Status) -> String {
    format!("{} {}: {}", status.code, status.reason, status.message)
}

/// An error with its causes, of which the last says most.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
