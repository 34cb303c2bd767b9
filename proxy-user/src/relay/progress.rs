//! What code that must never wait reports to its caller.

/// How far some work has got in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<T = ()> {
    /// It cannot go on before the next event, or its deadline.
    Blocked,
    /// It could go on at once, but others come first.
    Yielded,
    /// It is finished.
    Done(T),
}
