//! The tree against a plain list, over random items of every size and place.

use super::*;
use proptest::prelude::*;

/// Corners that crowd together, lie on either side of the origin, far out, and at the plane's edge.
fn coordinate() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -40_i64..40,
        2 => (-4_i64..4).prop_map(|tile| tile * 64),
        1 => (-4_i64..4).prop_map(|far| far << 40),
        1 => Just(i64::MIN),
        1 => Just(i64::MAX - 200),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let side = || prop_oneof![Just(1_u64), Just(64), 1_u64..200];
    (coordinate(), coordinate(), side(), side(), 0_u8..3, 0_u64..4).prop_map(
        |(x, y, width, height, kind, number)| Item {
            rect: Rect::new(x, y, width, height).unwrap(),
            kind: Kind::from_code(kind),
            number,
        },
    )
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by_key(|item| (order(item), item.rect.right(), item.rect.bottom()));
    items
}

fn order(item: &Item) -> (i64, i64, u8, u64) {
    (item.rect.top(), item.rect.left(), item.kind.code(), item.number)
}

/// What must hold of every node.
fn check(tree: &Quadtree, index: u32) -> Vec<QuadEntry> {
    let node = tree.node(index);
    let entries = match &node.body {
        NodeBody::Leaf(entries) => entries.clone(),
        NodeBody::Inner { cell, children } => {
            assert!(present(children).count() >= 2);
            assert!(node.count > JOIN_AT);
            let mut all = Vec::new();
            for (quadrant, child) in
                children.iter().enumerate().filter(|(_, child)| **child != NONE)
            {
                let below = check(tree, *child);
                assert!(below.iter().all(|entry| cell.contains(entry.corner())));
                assert!(below.iter().all(|entry| cell.quadrant(entry.corner()) == quadrant));
                all.extend(below);
            }
            all
        }
    };
    let sums = entries.iter().map(QuadEntry::sums).reduce(NodeSums::plus).unwrap();
    assert_eq!((node.bounds, node.count, node.kinds), (sums.bounds, sums.count, sums.kinds));
    entries
}

/// One probe finds in the tree what a plain list of the same items has.
fn agrees(
    tree: &Quadtree,
    list: &[Item],
    probe: &Item,
    kinds: Kinds,
    steps: &[(i64, i64)],
) -> Result<(), TestCaseError> {
    let of_kinds = list.iter().filter(|item| kinds.contains(item.kind));
    let wanted: Vec<_> = of_kinds.copied().collect();
    let inside = wanted.iter().filter(|item| item.rect.overlaps(&probe.rect));
    let expected: Vec<_> = inside.copied().collect();
    prop_assert_eq!(sorted(tree.region(&probe.rect, kinds)), sorted(expected));

    let point = probe.rect.corner();
    let mut expected: Vec<_> =
        wanted.iter().map(|item| (Distance::between(point, &item.rect), order(item))).collect();
    expected.sort();
    expected.truncate(5);
    let found: Vec<_> = tree
        .nearest(point, 5, kinds)
        .iter()
        .map(|near| (near.distance, order(&near.item)))
        .collect();
    prop_assert_eq!(found, expected);

    for (dx, dy) in steps.iter().filter(|step| **step != (0, 0)) {
        let ray = Ray::new(point, *dx, *dy).unwrap();
        let mut expected: Vec<_> =
            wanted.iter().filter_map(|item| Some((ray.enters(&item.rect)?, order(item)))).collect();
        expected.sort();
        let found: Vec<_> = tree
            .ray(&ray, usize::MAX, kinds)
            .iter()
            .map(|(crossing, item)| (*crossing, order(item)))
            .collect();
        prop_assert_eq!(found, expected);
    }
    let found = tree.find(point, probe.kind);
    prop_assert_eq!(
        found.is_some(),
        list.iter().any(|item| item.rect.corner() == point && item.kind == probe.kind)
    );
    prop_assert!(found.is_none_or(|item| list.contains(&item)));
    Ok(())
}

proptest! {
    #[test]
    fn queries_agree_with_a_plain_list(
        items in prop::collection::vec(item(), 1..120),
        removals in prop::collection::vec(any::<prop::sample::Index>(), 0..120),
        probes in prop::collection::vec(item(), 1..8),
        steps in prop::collection::vec((-3_i64..4, -3_i64..4), 1..8),
        kinds in 1_u32..8,
    ) {
        let kinds = (0..3).filter(|kind| kinds & 1 << kind != 0)
            .fold(Kinds::NONE, |kinds, kind| kinds | Kind::from_code(kind));
        let mut tree = Quadtree::default();
        let mut list = Vec::new();
        for item in items {
            tree.insert(item).unwrap();
            list.push(item);
        }
        for removal in removals {
            if list.is_empty() {
                break;
            }
            let item = list.swap_remove(removal.index(list.len()));
            prop_assert!(tree.remove(&item));
            prop_assert_eq!(tree.remove(&item), list.contains(&item));
            // Where it was there twice, both are gone now.
            if let Some(twin) = list.iter().position(|other| *other == item) {
                list.swap_remove(twin);
            }
            if let Some(root) = tree.root {
                check(&tree, root);
            }
        }
        prop_assert_eq!(tree.len(), list.len());
        let rects = list.iter().map(|item| item.rect);
        prop_assert_eq!(tree.bounds(), rects.reduce(|one, other| one.union(&other)));
        for probe in &probes {
            agrees(&tree, &list, probe, kinds, &steps)?;
        }
        for item in list {
            prop_assert!(tree.remove(&item));
        }
        prop_assert!(tree.is_empty());
        prop_assert_eq!(tree.free.len(), tree.nodes.len());
    }
}

fn tile(x: i64, y: i64) -> Item {
    Item { rect: Rect::new(x * 64, y * 64, 64, 64).unwrap(), kind: Kind::PIXELS, number: 0 }
}

#[test]
fn the_tree_is_as_deep_as_its_content_needs() {
    let mut tree = Quadtree::default();
    for far in [0, 1 << 50, -1 << 50] {
        for index in 0..1024 {
            tree.insert(tile(far + index % 32, far + index / 32)).unwrap();
        }
    }
    let stats = tree.stats();
    assert_eq!(stats.items, 3 * 1024);
    // Three heaps of 8 x 8 leaves of 16 tiles: 3 + 1 levels each, and two to tell the heaps apart.
    assert_eq!(stats.depth, 6);
}

#[test]
fn many_items_may_lie_at_one_point() {
    let mut tree = Quadtree::default();
    for number in 0..100 {
        tree.insert(Item { number, ..tile(1, 1) }).unwrap();
    }
    assert_eq!(tree.stats().nodes, 1);
    tree.insert(tile(-1, 7)).unwrap();
    assert_eq!(tree.region(&tile(1, 1).rect, Kinds::ALL).len(), 100);
    assert!((0..100).all(|number| tree.remove(&Item { number, ..tile(1, 1) })));
    assert_eq!(tree.len(), 1);
}

#[test]
fn rays_go_through_corners_without_touching() {
    let ray = |x, y, dx, dy| Ray::new(Point::new(x, y), dx, dy).unwrap();
    // From the centre of (-1, -1) down right: through the corner at (0, 0), into tile (0, 0) and no
    // other.
    let diagonal = ray(-1, -1, 1, 1);
    assert!(diagonal.enters(&tile(0, 0).rect).is_some());
    assert!(diagonal.enters(&tile(0, -1).rect).is_none());
    assert!(diagonal.enters(&tile(-1, 0).rect).is_none());
    assert_eq!(diagonal.enters(&tile(-1, -1).rect).unwrap().in_steps(), 0.0);
    assert_eq!(ray(0, 0, 1, 0).enters(&tile(1, 0).rect).unwrap().in_steps(), 63.5);
    assert!(ray(0, 0, -1, 0).enters(&tile(1, 0).rect).is_none());
    // The longest ray there is, exactly.
    let plane = ray(i64::MIN, i64::MIN, 1 << 62, 1 << 62);
    let end = Rect::new(i64::MAX, i64::MAX, 1, 1).unwrap();
    assert!(plane.enters(&end).is_some());
    assert!(plane.enters(&Rect::new(i64::MAX, i64::MAX - 1, 1, 1).unwrap()).is_none());
    assert!(Ray::new(Point::default(), 0, 0).is_err());
    assert!(Ray::new(Point::default(), i64::MIN, 0).is_err());
}

#[test]
fn distances_are_exact_across_the_plane() {
    let end = Rect::new(i64::MAX, i64::MAX, 1, 1).unwrap();
    let far = Distance::between(Point::new(i64::MIN, i64::MIN), &end);
    let nearer = Distance::between(Point::new(i64::MIN, i64::MIN + 1), &end);
    assert!(nearer < far);
    assert_eq!(far.in_pixels(), 2_f64.powi(64) * 2_f64.sqrt());
}
