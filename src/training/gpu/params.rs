//! The parameters of the kernels of training, field for field those of the shaders. Places are
//! counted in quads of four numbers.

use bytemuck::{Pod, Zeroable};

use crate::forward::params::MatrixParams;

/// No place, as the shaders have it.
pub const NONE: u32 = u32::MAX;

/// Bytes from one kernel's parameters to the next: what every device takes as an offset.
pub const SLOT: usize = 256;

macro_rules! params {
    ($($(#[$doc:meta])* $name:ident { $($(#[$note:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
            pub struct $name { $($(#[$note])* pub $field: $kind,)* }

            const _: () = assert!(
                size_of::<$name>().is_multiple_of(16) && size_of::<$name>() <= SLOT
            );
        )*
    };
}

params! {
    /// Token ids to rows of the residual stream.
    EmbedParams {
        /// The token embedding.
        matrix: MatrixParams,
        /// The residual stream.
        output: u32,
        /// Zero: fills the struct.
        padding: [u32; 3],
    }
    /// RMS norm of all columns, or of the wanted ones from `first` on.
    NormParams {
        /// What is normed, `[columns, quads]`.
        input: u32,
        /// Where it goes.
        output: u32,
        /// The weight among the vectors.
        gain: u32,
        /// Quads of a row.
        quads: u32,
        /// Epsilon of the norm.
        epsilon: f32,
        /// The first of the wanted columns, or [`NONE`].
        first: u32,
        /// Zero: fills the struct.
        padding: [u32; 2],
    }
    /// A matrix times activations, and what an adapter adds.
    ProductParams {
        /// The matrix.
        matrix: MatrixParams,
        /// `[columns, inputs]`.
        input: u32,
        /// `[columns, stride]`.
        output: u32,
        /// Quads from one column of the output to the next.
        stride: u32,
        /// Rows that are written.
        rows: u32,
        /// The bias among the vectors, or [`NONE`].
        bias: u32,
        /// What is added, or [`NONE`].
        added: u32,
        /// What the adapter's first factor made of the inputs.
        low: u32,
        /// Quads from one column of it to the next.
        low_stride: u32,
        /// Quads of the adapter's rank, 0 for none.
        low_quads: u32,
        /// The adapter's second factor.
        factor: u32,
        /// The first of the wanted columns, or [`NONE`].
        first: u32,
        /// The most of them.
        most: u32,
    }
    /// Activations times the small side of an adapter.
    LoraInParams {
        /// `[columns, stride]`.
        input: u32,
        /// Quads of a column that are multiplied.
        quads: u32,
        /// Quads from one column to the next.
        stride: u32,
        /// `[inputs, rank]`.
        factor: u32,
        /// Quads of the rank.
        low_quads: u32,
        /// `[columns, output_stride]`.
        output: u32,
        /// Quads from one column of the output to the next.
        output_stride: u32,
        /// What the product is multiplied with.
        scale: f32,
    }
    /// Norms per head and RoPE, and both back.
    HeadParams {
        /// Products `[columns, stride]`, queries before keys.
        projected: u32,
        /// Quads from one column of them to the next.
        stride: u32,
        /// Turned queries.
        query: u32,
        /// Turned keys.
        key: u32,
        /// Quads of all queries of a column.
        query_quads: u32,
        /// Quads of all keys of a column.
        key_quads: u32,
        /// Quads of a head.
        quads: u32,
        /// Quads of a head that turn.
        turned: u32,
        /// 0 neighbouring pairs, 1 halves.
        kind: u32,
        /// Weights of the query's norm, then the key's, among the vectors, or [`NONE`].
        norm: u32,
        /// Epsilon of the norms.
        epsilon: f32,
        /// Gradients of the products.
        gradient: u32,
        /// Gradients of turned queries.
        query_gradient: u32,
        /// Gradients of turned keys.
        key_gradient: u32,
        /// Zero: fills the struct.
        padding: [u32; 2],
    }
    /// Attention, and back.
    AttentionParams {
        /// Turned queries.
        query: u32,
        /// Turned keys.
        key: u32,
        /// Values, among the products.
        value: u32,
        /// Quads from one column of the products to the next.
        value_stride: u32,
        /// What the heads give.
        attended: u32,
        /// Its gradient.
        gradient: u32,
        /// The logarithm of the sum of weights, a quad per column and head.
        lse: u32,
        /// The product of output and gradient, a quad per column and head.
        delta: u32,
        /// Gradients of turned queries.
        query_gradient: u32,
        /// Gradients of turned keys.
        key_gradient: u32,
        /// Gradients of values, among those of the products.
        value_gradient: u32,
        /// Query heads.
        head_count: u32,
        /// Query heads that share a KV head.
        heads_per_kv: u32,
        /// One over the root of the head's size.
        score_scale: f32,
        /// Zero: fills the struct.
        padding: [u32; 2],
    }
    /// `silu(gate) * up`, and back.
    SwigluParams {
        /// Gate, `[columns, quads]`.
        gate: u32,
        /// Up.
        up: u32,
        /// The result, or its gradient.
        hidden: u32,
        /// Quads of a column.
        quads: u32,
    }
    /// Cross-entropy of wanted columns.
    LossParams {
        /// `[rows, stride]`.
        logits: u32,
        /// Quads of a row.
        stride: u32,
        /// Tokens that the model knows.
        vocabulary: u32,
        /// The first of the wanted columns.
        first: u32,
    }
    /// Gradients of a product's inputs.
    BackParams {
        /// The matrix.
        matrix: MatrixParams,
        /// Gradients of the product.
        input: u32,
        /// Quads from one column of them to the next.
        stride: u32,
        /// Gradients of its inputs.
        output: u32,
        /// 1 where they are added to what is there.
        added: u32,
        /// The first row group.
        first_group: u32,
        /// The one behind the last.
        last_group: u32,
        /// What the adapters' second factors made of the gradients.
        low: u32,
        /// Quads of their rank, 0 for none.
        low_quads: u32,
        /// Their first factor.
        factor: u32,
        /// The first of the wanted columns, or [`NONE`].
        first: u32,
        /// The most of them.
        most: u32,
        /// Zero: fills the struct.
        padding: u32,
    }
    /// RMS norm back.
    NormBackParams {
        /// What was normed.
        input: u32,
        /// The gradient of its norm.
        gradient: u32,
        /// The weight among the vectors.
        gain: u32,
        /// Quads of a column.
        quads: u32,
        /// Epsilon of the norm.
        epsilon: f32,
        /// The gradient of the residual stream.
        output: u32,
        /// 1 where it begins, with the gradient of the wanted columns.
        begins: u32,
        /// The first of the results that squares of what is left are added to, one per column, or
        /// [`NONE`].
        result: u32,
    }
    /// The gradient of an adapter's factor.
    OuterParams {
        /// `[columns, rows]`.
        input: u32,
        /// Quads from one column of it to the next.
        stride: u32,
        /// Rows of the factor.
        rows: u32,
        /// `[columns, rank]`.
        low: u32,
        /// Quads from one column of it to the next.
        low_stride: u32,
        /// Quads of the rank.
        low_quads: u32,
        /// The gradient.
        gradient: u32,
        /// Zero: fills the struct.
        padding: u32,
    }
    /// Sums of squares of the gradient.
    GradientNormParams {
        /// The gradient.
        gradient: u32,
        /// Quads of it.
        quads: u32,
        /// The first of the results.
        result: u32,
        /// Zero: fills the struct.
        padding: u32,
    }
    /// AdamW.
    AdamwParams {
        /// What is trained.
        values: u32,
        /// Its gradient.
        gradient: u32,
        /// The mean of gradients.
        moment: u32,
        /// The mean of their squares.
        square: u32,
        /// Quads of each.
        quads: u32,
        /// The rate.
        rate: f32,
        /// Decay of the mean.
        beta1: f32,
        /// Decay of the mean of squares.
        beta2: f32,
        /// Added to the root.
        epsilon: f32,
        /// What a value shrinks to.
        keep: f32,
        /// What makes the mean unbiased.
        first_factor: f32,
        /// What makes the mean of squares unbiased.
        second_factor: f32,
        /// What clips the gradient.
        clip: f32,
        /// Zero: fills the struct.
        padding: [u32; 3],
    }
}
