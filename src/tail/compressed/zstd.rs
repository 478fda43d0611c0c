//! Steps through a frame of zstd, block by block (RFC 8878): the decoder needs each block as a whole.

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

use super::step::Step;

/// The largest block.
const BLOCK: usize = 128 << 10;

/// Frames that hold no content begin with one of sixteen numbers, of which this is the first.
const SKIPPABLE: u32 = 0x184d_2a50;

pub(super) struct Zstd {
    frame: FrameDecoder,
    place: Place,
}

enum Place {
    Header,
    Blocks {
        has_checksum: bool,
    },
    /// This many bytes follow that are no content.
    Skipped(usize),
}

impl Zstd {
    /// A frame whose decoding takes more than `memory` bytes is refused.
    pub fn new(memory: u64) -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(memory);
        Self { frame, place: Place::Header }
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        let needs_more = Ok(Step::default());
        match self.place {
            Place::Header => self.begin(input),
            Place::Skipped(rest) => {
                let taken = rest.min(input.len());
                self.place = Place::Skipped(rest - taken);
                Ok(Step { taken, given: 0, is_end: taken == rest })
            }
            Place::Blocks { has_checksum } => {
                // Before the next block is decoded, so that a block that expands takes no memory beside the window.
                if self.frame.can_collect() > 0 {
                    let given = self.frame.read(output).map_err(|e| e.to_string())?;
                    return Ok(Step { taken: 0, given, is_end: self.is_over() });
                }
                if self.is_over() {
                    return Ok(Step { is_end: true, ..Step::default() });
                }
                let [a, b, c, ..] = *input else {
                    return needs_more;
                };
                let header = u32::from_le_bytes([a, b, c, 0]);
                let (is_last, is_repeated, size) = (header & 1 == 1, header >> 1 & 3 == 1, (header >> 3) as usize);
                if size > BLOCK {
                    return Err(format!("a block of {size} bytes"));
                }
                let checksum = if is_last && has_checksum { 4 } else { 0 };
                let taken = 3 + if is_repeated { 1 } else { size } + checksum;
                let Some(mut block) = input.get(..taken) else {
                    return needs_more;
                };
                self.frame
                    .decode_blocks(&mut block, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|e| e.to_string())?;
                Ok(Step { taken, given: 0, is_end: self.is_over() })
            }
        }
    }

    fn is_over(&self) -> bool {
        self.frame.is_finished() && self.frame.can_collect() == 0
    }

    fn begin(&mut self, input: &[u8]) -> Result<Step, String> {
        let Some(magic) = input.first_chunk::<4>() else {
            return Ok(Step::default());
        };
        if u32::from_le_bytes(*magic) & !15 == SKIPPABLE {
            let Some(length) = input.get(4..).and_then(|rest| rest.first_chunk::<4>()) else {
                return Ok(Step::default());
            };
            self.place = Place::Skipped(u32::from_le_bytes(*length) as usize);
            return Ok(Step { taken: 8, ..Step::default() });
        }
        let Some(descriptor) = input.get(4) else {
            return Ok(Step::default());
        };
        // How long the header is: the window, the number of a dictionary and the size of the content may be left out.
        let is_single = descriptor >> 5 & 1 == 1;
        let window = usize::from(!is_single);
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size = match descriptor >> 6 {
            0 => usize::from(is_single),
            more => 1 << more,
        };
        let taken = 5 + window + dictionary + size;
        let Some(header) = input.get(..taken) else {
            return Ok(Step::default());
        };
        self.frame.reset(header).map_err(|e| e.to_string())?;
        self.place = Place::Blocks { has_checksum: descriptor >> 2 & 1 == 1 };
        Ok(Step { taken, ..Step::default() })
    }
}
