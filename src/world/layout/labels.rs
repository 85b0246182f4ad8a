//! Which names are written where, at the scale at hand: text is chosen by its size on the screen
//! before it is laid out.

use super::Atlas;
use crate::model::plan::{LayerPlan, MapPlan, Rect};
use crate::model::tiling::Layout;

/// What a label names, which decides how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelKind {
    /// The embedding, the output.
    District,
    /// A layer, by its number.
    Layer,
    /// The layer at an end of a row that does not lie along the north edge, by its number.
    RowEnd,
    /// A head, by its number.
    Head,
    /// A part of a tensor, by a short name.
    Plot,
    /// What the map's rules write beside the model's own names.
    Sign,
}

/// A name and the rectangle of cells that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// What is written on the map.
    pub text: String,
    /// What kind of place it names.
    pub kind: LabelKind,
    /// Where that place lies.
    pub rect: Rect,
    /// From 0, not to be seen, to 1.
    pub strength: f32,
}

/// Points across a layer from which it has its whole name.
const LEAST_LAYER: f64 = 60.0;
/// How much more room a name on the data takes where the whole land is on the screen: there one
/// looks at the land, and names come when one goes nearer.
const AFAR: f64 = 120.0;

/// The labels that are to be seen where a cell is `scale` screen points wide and `visible` is on
/// the screen.
pub fn labels(atlas: &Atlas, visible: Rect, scale: f64) -> Vec<Label> {
    let plan = atlas.model().plan();
    let bounds = atlas.bounds();
    let zoom = (bounds.width as f64 / visible.width as f64)
        .max(bounds.height as f64 / visible.height as f64);
    let afar = AFAR * f64::from(1.0 - rise(zoom as f32, 1.1, 1.5));
    let config = atlas.model().config();
    let mut labels = Vec::new();
    let mut push = |text: String, kind: LabelKind, rect: Rect, from: f64, to: f64| {
        // A name is a few times wider than it is tall, and heads lie flat.
        let room = (rect.width as f64).min(3.0 * rect.height as f64);
        let strength = rise((room * scale) as f32, from as f32, to as f32);
        if strength > 0.0 && rect.overlaps(&visible) {
            labels.push(Label { text, kind, rect, strength });
        }
    };
    let tokens = config.vocab_size;
    let both = if plan.output.width == 0 { "embedding and output" } else { "token embedding" };
    push(format!("{both}: {tokens} tokens"), LabelKind::District, plan.embedding, 60.0, 120.0);
    // A matrix that serves as both has an output of no width, and so no second label.
    push(format!("output: {tokens} tokens"), LabelKind::District, plan.output, 60.0, 120.0);
    for sign in &plan.signs {
        push(sign.text.clone(), LabelKind::Sign, sign.rect, 40.0, 70.0);
    }
    let north = plan.layers.first().map(|layer| layer.rect.y);
    for layer in &plan.layers {
        let across = layer.rect.width as f64 * scale;
        if across >= LEAST_LAYER {
            push(format!("layer {}", layer.layer), LabelKind::Layer, layer.rect, 40.0, 60.0);
        } else if layer.layer.is_multiple_of(5) && Some(layer.rect.y) == north {
            // Where not each has room for its name, every fifth has its number, along the north
            // edge alone.
            let number = layer.layer.to_string();
            let text = if layer.layer == 0 { format!("layer {number}") } else { number };
            push(text, LabelKind::Layer, layer.rect, 4.0, 10.0);
        } else if Some(layer.rect.y) != north && is_row_end(plan, layer) {
            push(layer.layer.to_string(), LabelKind::RowEnd, layer.rect, 4.0, 10.0);
        }
    }
    for head in &plan.heads {
        let from = 30.0 + afar;
        push(format!("head {}", head.head), LabelKind::Head, head.rect, from, from + 14.0);
    }
    for plot in &plan.plots {
        let tensor = &atlas.model().tensors()[plot.tensor];
        let Some((_, name)) = tensor.layer() else { continue };
        let (from, to) =
            if tensor.tiling.layout == Layout::Vector { (120.0, 160.0) } else { (70.0, 90.0) };
        let shape = if tensor.tiling.layout == Layout::Vector {
            format!("{}", plot.columns.end - plot.columns.start)
        } else {
            format!(
                "{} x {}",
                plot.rows.end - plot.rows.start,
                plot.columns.end - plot.columns.start
            )
        };
        let name = format!("{}  {shape}", short(name));
        push(name, LabelKind::Plot, plot.rect, from + afar, to + afar);
    }
    labels
}

/// Whether no layer of its row lies farther west, or none farther east.
fn is_row_end(plan: &MapPlan, layer: &LayerPlan) -> bool {
    let of_row = plan.layers.iter().filter(|other| other.rect.y == layer.rect.y);
    let [mut west, mut east] = [true; 2];
    for other in of_row {
        west &= other.rect.x >= layer.rect.x;
        east &= other.rect.x <= layer.rect.x;
    }
    west || east
}

/// What a tensor of a layer is called in the field.
pub fn short(name: &str) -> &str {
    match name {
        "attn_q.weight" => "Q",
        "attn_k.weight" => "K",
        "attn_v.weight" => "V",
        "attn_output.weight" => "O",
        "ffn_gate.weight" => "gate",
        "ffn_up.weight" => "up",
        "ffn_down.weight" => "down",
        "attn_norm.weight" => "attention norm",
        "ffn_norm.weight" => "feed-forward norm",
        other => other.trim_end_matches(".weight"),
    }
}

/// 0 up to `from`, 1 from `to` on.
fn rise(value: f32, from: f32, to: f32) -> f32 {
    ((value - from) / (to - from)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn names_come_with_the_scale_at_which_they_can_be_read() {
        let atlas = Atlas::new(Arc::new(crate::app::kinds::assets().default_model().unwrap()));
        let all = atlas.bounds();
        let kinds = |scale: f64| {
            let labels = labels(&atlas, all, scale);
            move |kind| labels.iter().filter(|label| label.kind == kind).count()
        };
        let config = atlas.model().config();
        let far = kinds(1e-4);
        assert_eq!(far(LabelKind::Layer) + far(LabelKind::Head) + far(LabelKind::Plot), 0);
        let near = kinds(10.0);
        assert_eq!(near(LabelKind::Layer), config.layer_count as usize);
        assert_eq!(near(LabelKind::Head), (config.layer_count * config.head_count) as usize);
        assert!(near(LabelKind::Plot) > 0);
        assert!(
            labels(&atlas, Rect::new(-9, -9, 1, 1), 10.0).is_empty(),
            "what is not on the screen is not laid out"
        );
    }
}
