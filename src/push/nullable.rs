//! Keys that may be written without a value, and then mean their default (yaml.v2 leaves a field alone that is null).

use serde::{Deserialize, Deserializer};

use super::{backoff, config};
use crate::model::units::{self, ByteSize, GoDuration};

macro_rules! nullable {
    ($($field:ident: $type:ty = $default:expr;)*) => {$(
        pub(super) fn $field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            Option::<$type>::deserialize(deserializer).map(|value| value.unwrap_or($default))
        }
    )*};
}

nullable! {
    batchwait: GoDuration = config::BATCHWAIT;
    batchsize: usize = config::BATCHSIZE;
    replay_window: ByteSize = config::REPLAY_WINDOW;
    buffer_size: ByteSize = config::BUFFER_SIZE;
    timeout: GoDuration = config::TIMEOUT;
    min_period: GoDuration = backoff::MIN_PERIOD;
    max_period: GoDuration = backoff::MAX_PERIOD;
}

/// A switch that is on unless it is switched off.
pub(super) fn on<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Switch(#[serde(deserialize_with = "units::bool")] bool);
    Option::<Switch>::deserialize(deserializer).map(|switch| switch.is_none_or(|s| s.0))
}
