//! A Lease of `coordination.k8s.io/v1`. It names the agent that sends the events, and has the version up to which they
//! are delivered.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::progress::Version;

/// The annotation with the version that the holder has delivered.
const DELIVERED: &str = "fantail-resource-version";

/// The object as the API server gives it. Fields that this agent does not know stay as they are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lease(pub Value);

/// The holder of a Lease, and the time of its last renewal, by the holder's clock.
pub(super) type Holder = (String, String);

impl Lease {
    /// A Lease without a holder.
    pub fn new(name: &str) -> Self {
        Self(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "fantail"}}, "spec": {},
        }))
    }

    pub fn holder(&self) -> Holder {
        (self.text("/spec/holderIdentity").into(), self.text("/spec/renewTime").into())
    }

    /// The version up to which the last holder has delivered. None: it is not known.
    pub fn delivered(&self) -> Option<Version> {
        self.0.pointer("/metadata/annotations")?.get(DELIVERED)?.as_str()?.parse().ok()
    }

    /// The Lease as this agent holds it from now on.
    pub fn held_by(mut self, identity: &str, now: Timestamp, duration: Duration, delivered: Option<Version>) -> Self {
        let time = now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let is_new = self.text("/spec/holderIdentity") != identity;
        let transitions = self.0.pointer("/spec/leaseTransitions").and_then(Value::as_i64);
        if !self.0["spec"].is_object() {
            self.0["spec"] = json!({});
        }
        let spec = &mut self.0["spec"];
        spec["holderIdentity"] = identity.into();
        spec["leaseDurationSeconds"] = duration.as_secs().max(1).into();
        spec["renewTime"] = time.as_str().into();
        if is_new {
            spec["acquireTime"] = time.into();
            spec["leaseTransitions"] = transitions.map_or(0, |count| count.saturating_add(1)).into();
        }
        // The version never goes back, because delivered events stay delivered.
        if let Some(delivered) = delivered.max(self.delivered()) {
            let metadata = &mut self.0["metadata"];
            if !metadata["annotations"].is_object() {
                metadata["annotations"] = json!({});
            }
            metadata["annotations"][DELIVERED] = delivered.to_string().into();
        }
        self
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_renewed_and_taken_over() {
        let at = |text: &str| text.parse::<Timestamp>().expect(text);
        let fifteen = Duration::from_secs(15);
        let first = Lease::new("l").held_by("a", at("2026-11-27T10:00:00.5Z"), fifteen, None);
        assert_eq!(first.holder(), ("a".into(), "2026-11-27T10:00:00.500000Z".into()));
        assert_eq!((&first.0["spec"]["leaseTransitions"], first.delivered()), (&json!(0), None));
        let renewed = first.held_by("a", at("2026-11-27T10:00:05Z"), fifteen, Some(7));
        assert_eq!(renewed.0["spec"]["acquireTime"], "2026-11-27T10:00:00.500000Z");
        assert_eq!((&renewed.0["spec"]["leaseDurationSeconds"], renewed.delivered()), (&json!(15), Some(7)));
        let taken = renewed.held_by("b", at("2026-11-27T11:00:00Z"), fifteen, None);
        assert_eq!(taken.holder().0, "b");
        assert_eq!(
            (&taken.0["spec"]["leaseTransitions"], taken.delivered()),
            (&json!(1), Some(7)),
            "what a delivered stays"
        );
    }

    #[test]
    fn odd_leases() {
        for odd in
            [json!({}), json!({"metadata": {"annotations": null}, "spec": null}), json!({"metadata": {}, "spec": 5})]
        {
            let lease = Lease(odd);
            assert_eq!((lease.holder().0.as_str(), lease.delivered()), ("", None));
            let held = lease.held_by("a", Timestamp::UNIX_EPOCH, Duration::ZERO, Some(1));
            assert_eq!((held.holder().0.as_str(), held.delivered()), ("a", Some(1)));
        }
    }
}
