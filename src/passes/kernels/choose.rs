//! The next token, fed back.

use super::{
    KernelSource,
    layout::{Bound::*, layout},
};
use crate::passes::params::ChooseParams;

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "choose",
    layout: || {
        let params = Params(size_of::<ChooseParams>());
        layout("choose", &[params, Write, Write, Write, Write, Read, Read, Write, Write, Read])
    },
    variants: || vec![vec![]],
};
