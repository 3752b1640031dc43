//! Lies: what the world would look like to a mover with a step less. Each must break an invariant, or the model
//! shows nothing.

/// What is not as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// The ETag of a deletion is not passed on.
    DeletesAnything,
    /// The copy goes over whatever is there.
    CopiesOverAnything,
    /// The copy is of whatever is there, also where something else was looked at.
    CopiesAnything,
    /// The file counts as dead once it has been copied.
    ChecksOnce,
    /// An error of one key among many reads as success.
    ErrorsAreSuccess,
    /// Whatever is in the recycle bucket counts as the source's copy.
    ProvesAnything,
    /// A copy that is there already is not written again.
    NeverRenews,
    /// The copy back goes over whatever is there.
    BringsBackOverAnything,
    /// A living file's object is not brought back.
    NeverBringsBack,
    /// A deletion is answered with success, and nothing is done.
    DeletesNothing,
}
