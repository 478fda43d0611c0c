//! Failures of requests to the API server, and what the user can do about them.

use std::error::Error;
use std::time::Duration;

use kube::core::Status;

use super::bounded::TOO_LONG;
use super::kind::Kind;

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) error: String,
    /// Whether the watch may continue at its version. If not, it starts with a new connection and a new list.
    pub(super) resumable: bool,
    /// The refused verb, for [`Reason::Forbidden`].
    pub(super) verb: &'static str,
    /// The server's `Retry-After`. Zero: it sent none.
    pub(super) retry_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The kubeconfig or the service account cannot be read.
    Credentials,
    /// There is no answer, or an incomplete one.
    Connection,
    Unauthorized,
    Forbidden,
    /// The server does not know the watch's version any more. Normal after a long absence.
    Gone,
    /// 429, 5xx.
    Busy,
    /// Any other status, or an answer that cannot be parsed.
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

    /// The label value in the metric.
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
            Reason::Credentials => "run in a pod with a service account, or set kubeconfig_file or api_server",
            Reason::Connection => "check the connection to the API server: address, network policies, certificates",
            Reason::Unauthorized => {
                "check the token or the certificate: the API server does not accept the credentials"
            }
            Reason::Forbidden => "bind the service account to a ClusterRole that may list and watch",
            Reason::Gone | Reason::Busy => "nothing to do: the agent tries again",
            Reason::Answer => "check selectors and namespaces, and that the address belongs to a Kubernetes API",
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
    /// Sets the verb of the failed request.
    pub(super) fn to(self, verb: &'static str) -> Self {
        Self { verb, ..self }
    }

    /// The advice for the user, for a failed request for objects of `kind`.
    pub(super) fn advice(&self, kind: &Kind) -> String {
        match self.reason {
            Reason::Forbidden => {
                let (verb, plural, rule) = (self.verb, kind.plural, kind.rule());
                format!("may not {verb} {plural}: add this rule to the ClusterRole of the service account: {rule}")
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

    /// A request failed. Only for an overloaded server, the same connection is used again. Otherwise the connection
    /// itself may be the problem (its certificate or address), so it is made anew.
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

    /// The answer cannot be parsed.
    pub(super) fn answer(error: String) -> Self {
        Self { reason: Reason::Answer, error, resumable: false, verb: "", retry_after: Duration::ZERO }
    }

    /// The answer ended early.
    pub(super) fn cut_off(error: &std::io::Error) -> Self {
        let error = chain(error);
        match error.contains(TOO_LONG) {
            true => Self::answer(error),
            false => Self { reason: Reason::Connection, error, resumable: true, verb: "", retry_after: Duration::ZERO },
        }
    }

    /// The server ended a watch with an error, so the watch must start again.
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

/// The error with all its causes. The last cause is the most useful.
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
