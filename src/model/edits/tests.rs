use super::*;
use crate::model::verify::verify;
use crate::model::weights::tile_weights;

fn model() -> PixelModel {
    crate::app::kinds::assets().default_model().unwrap()
}

fn weight(model: &PixelModel, overlay: &WeightEdits, tensor: usize, row: u64, column: u64) -> f32 {
    let about = &model.tensors()[tensor];
    let tile = about.first_tile + about.tiling.tile_of(row, column) as u32;
    let (_, shape) = model.tile_shape(tile);
    let weights = tile_weights(&about.tiling, &shape, overlay.tile(model, tile));
    let stride = shape.columns.end - shape.columns.start;
    weights[((row - shape.rows.start) * stride + column - shape.columns.start) as usize]
}

#[test]
fn an_edit_changes_what_was_asked_and_undo_and_redo_are_exact() {
    let model = model();
    let tensor = model.tensor_index("blk.0.attn_q.weight").unwrap();
    let mut overlay = WeightEdits::default();
    let region = Region { tensor, rows: 3..5, columns: 7..40 };
    let before = weight(&model, &overlay, tensor, 4, 8);
    let painted = overlay.paint(&model, std::slice::from_ref(&region), Brush::Zero).unwrap();
    assert_eq!((painted.weights, painted.tiles), (66, 1));
    let zeroed = weight(&model, &overlay, tensor, 4, 8);
    assert!(zeroed.abs() <= painted.largest_miss && before != zeroed);
    assert_eq!(
        weight(&model, &overlay, tensor, 5, 8),
        weight(&model, &WeightEdits::default(), tensor, 5, 8)
    );
    let tile = model.tensors()[tensor].first_tile;
    assert!(overlay.is_edited(tile) && !overlay.is_edited(tile + 1));
    let first: Vec<u8> = overlay.tile(&model, tile).to_vec();

    overlay.paint(&model, &[region], Brush::Noise { spread: 0.1, seed: 3 }).unwrap();
    assert_ne!(overlay.tile(&model, tile), first);
    assert_eq!(overlay.depth(), [2, 0]);
    overlay.undo();
    assert_eq!(overlay.tile(&model, tile), first);
    overlay.undo();
    assert!(!overlay.is_edited(tile));
    assert_eq!(overlay.tile(&model, tile), model.tile(tile).unwrap());
    assert_eq!((overlay.undo(), overlay.depth()), (0, [0, 2]));
    overlay.redo();
    assert_eq!(overlay.tile(&model, tile), first);
    overlay.restore_all();
    assert!(overlay.tiles().is_empty());
    overlay.undo();
    assert_eq!(overlay.tile(&model, tile), first);
}

#[test]
fn an_edit_back_to_the_files_value_is_no_edit_any_more() {
    let model = model();
    let tensor = model.tensor_index("blk.0.attn_norm.weight").unwrap();
    let mut overlay = WeightEdits::default();
    let region = [Region::weight(tensor, 0, 9)];
    let before = weight(&model, &overlay, tensor, 0, 9);
    let painted = overlay.paint(&model, &region, Brush::Set(2.5)).unwrap();
    assert_eq!(painted.first, Some([before, 2.5, 2.5]));
    assert_eq!(weight(&model, &overlay, tensor, 0, 9), 2.5);
    overlay.paint(&model, &region, Brush::Set(before)).unwrap();
    assert!(overlay.tiles().is_empty(), "the tile's checksum holds again");
}

#[test]
fn what_cannot_be_painted_is_told_and_changes_nothing() {
    let model = model();
    let tensor = model.tensor_index("token_embd.weight").unwrap();
    let mut overlay = WeightEdits::default();
    let columns = model.tensors()[tensor].tiling.columns;
    let outside = Region { tensor, rows: 0..1, columns: 0..columns + 1 };
    let error =
        overlay.paint(&model, &[Region::weight(tensor, 0, 0), outside], Brush::Zero).unwrap_err();
    assert!(error.to_string().contains("token_embd.weight"), "{error}");
    let error =
        overlay.paint(&model, &[Region::weight(tensor, 0, 0)], Brush::Set(f32::NAN)).unwrap_err();
    assert!(error.to_string().contains("NaN"), "{error}");
    let all = Region { tensor, rows: 0..u64::MAX, columns: 0..columns };
    let error = overlay.paint(&model, &[all], Brush::Zero).unwrap_err();
    assert!(error.to_string().contains(&MOST_WEIGHTS.to_string()), "{error}");
    assert_eq!((overlay.version(), overlay.depth()), (0, [0, 0]));
}

#[test]
fn a_copy_has_checksums_of_its_own_and_the_edit_and_nothing_else() {
    let model = model();
    let tensor = model.tensor_index("blk.1.ffn_down.weight").unwrap();
    let mut overlay = WeightEdits::default();
    overlay
        .paint(&model, &[Region { tensor, rows: 0..9, columns: 0..64 }], Brush::Scale(-1.5))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.pxi");
    let saved = save_copy(&model, &overlay, &path, &|_| ()).unwrap();
    assert_eq!(saved.edited, overlay.tiles().len());
    let copy = PixelModel::open(&path).unwrap();
    assert_eq!(verify(&copy, &|_| ()), []);
    for tile in 0..model.tile_count() {
        assert_eq!(copy.tile(tile).unwrap(), overlay.tile(&model, tile), "tile {tile}");
        assert_eq!(copy.tile_digest(tile) != model.tile_digest(tile), overlay.is_edited(tile));
    }
    let edited = model.tensors()[tensor].first_tile;
    let coarse = coarse_of(&model, edited, overlay.tile(&model, edited)).unwrap();
    assert_eq!(
        (copy.tile_blocks(edited), copy.tile_statistics(edited)),
        (coarse.blocks, coarse.statistics)
    );
    assert_ne!(copy.header().root, model.header().root);
    let error = save_copy(&model, &overlay, &path, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("already") && error.contains("copy.pxi"), "{error}");
}
