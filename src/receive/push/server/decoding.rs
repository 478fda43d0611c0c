//! Decodes a push within its reservation.

use std::sync::Arc;

use super::{Answer, Form, Push, Shelf};
use crate::model::AbortOnPanic;
use crate::receive::budget::Reservation;
use crate::receive::push::body::{Encoding, decompress, plain_len, unsnap};
use crate::receive::push::builder::{Builder, Built, Settings};
use crate::receive::push::{Format, Refused, walk};

/// A push with more bytes than this, decompressed, is decoded on another thread. Another thread costs more than such a push
/// takes.
const SMALL: usize = 64 << 10;

/// The same for protobuf, which is read several times as fast as JSON.
const SMALL_PROTOBUF: usize = 256 << 10;

/// Whether it takes so little time that other tasks may wait for it.
fn is_small((encoding, form, _): &Push, body: &[u8]) -> bool {
    match (encoding, form) {
        (Encoding::Plain, Form::Push(Format::Protobuf)) => {
            plain_len(body).is_some_and(|length| length <= SMALL_PROTOBUF)
        }
        (Encoding::Plain, _) => body.len() <= SMALL,
        (Encoding::Gzip | Encoding::Deflate, _) => false,
    }
}

impl Shelf {
    /// Decodes the push. If other pushes have the memory, it waits for its turn and begins again.
    pub(super) async fn build(
        self: &Arc<Self>,
        push: Push,
        body: Vec<u8>,
        reservation: &mut Reservation,
        skip: usize,
    ) -> Result<Built, Answer> {
        let body = Arc::new(body);
        match self.decode_apart(push.clone(), body.clone(), reservation, skip).await? {
            Err(Refused::Busy) => {
                reservation.wait().await.map_err(Refused::from)?;
                Ok(self.decode_apart(push, body, reservation, skip).await??)
            }
            outcome => Ok(outcome?),
        }
    }

    /// On another thread, if it is large.
    async fn decode_apart(
        self: &Arc<Self>,
        push: Push,
        body: Arc<Vec<u8>>,
        reservation: &mut Reservation,
        skip: usize,
    ) -> Result<Result<Built, Refused>, Answer> {
        if is_small(&push, &body) {
            return Ok(self.decode(push, &body, reservation, skip));
        }
        let (shelf, mut held) = (self.clone(), reservation.hand_over());
        let decoding = tokio::task::spawn_blocking(move || {
            let _abort_on_panic = AbortOnPanic;
            (shelf.decode(push, &body, &mut held, skip), held)
        });
        let (built, held) = decoding.await.map_err(|_| Answer::later("the agent is stopping"))?;
        *reservation = held;
        Ok(built)
    }

    fn decode(
        &self,
        (encoding, form, tenant): Push,
        body: &[u8],
        reservation: &mut Reservation,
        skip: usize,
    ) -> Result<Built, Refused> {
        let limit = self.config.max_send_msg_size.0 as usize;
        let compressed = body.len();
        let mut plain = decompress(encoding, body, limit, reservation)?;
        if let Form::Push(Format::Protobuf) = form {
            let unsnapped = unsnap(&plain, limit, reservation)?;
            plain = unsnapped.into();
        }
        let live = self.current.now();
        let settings = Settings {
            live: &live,
            arrival: &self.arrival,
            use_incoming_timestamp: self.config.use_incoming_timestamp,
            tenant: tenant.as_deref(),
            held: compressed + plain.len(),
            skip,
        };
        let mut builder = Builder::new(settings, reservation);
        match form {
            Form::Push(format) => {
                walk(format, &plain, &mut builder)?;
                Ok(builder.finish())
            }
            Form::Raw => builder.lines(&String::from_utf8_lossy(&plain), self.labels.clone()),
        }
    }
}
