//! What the machine allows a run to have, and how many connections that is enough for.

mod descriptors;
mod memory;

pub use self::descriptors::DescriptorBudget;
pub use self::memory::MemoryBudget;
