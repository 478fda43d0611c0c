//! What a decoder did with the bytes that it was given.

/// The result of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes that were taken of the input.
    pub taken: usize,
    /// Bytes that were written to the output.
    pub given: usize,
    /// The member is at its end.
    pub is_end: bool,
}
