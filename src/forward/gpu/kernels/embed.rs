//! Token ids to rows of the residual stream.

use super::KernelSource;
use super::bindings::{Bindings, EmbedBindings};
use super::variants::per_encoding;

/// The kernel as it is written down.
pub(crate) const SOURCE: KernelSource =
    KernelSource { name: "embed", bindings: EmbedBindings::LIST, variants: per_encoding };
