//! Places labels beside their values without overlap.

/// Moves labels apart to a distance of `gap` within `low..=high`, each by as little as possible. If
/// they do not fit, the gap is reduced.
pub(super) fn apart(wanted: &[f64], gap: f64, (low, high): (f64, f64)) -> Vec<f64> {
    let mut order: Vec<_> = (0..wanted.len()).collect();
    order.sort_by(|&one, &other| wanted[one].total_cmp(&wanted[other]));
    let gaps = order.len().saturating_sub(1) as f64;
    let gap = if gaps > 0.0 { gap.min((high - low) / gaps) } else { gap };

    // Without the gaps, the labels only have to be in order. Labels that would be out of order
    // share their mean.
    let mut groups: Vec<(f64, usize)> = Vec::new();
    for (rank, &at) in order.iter().enumerate() {
        let mut group = (wanted[at] - rank as f64 * gap, 1);
        while let Some(last) = groups.pop_if(|last| last.0 >= group.0) {
            let size = last.1 + group.1;
            group = ((last.0 * last.1 as f64 + group.0 * group.1 as f64) / size as f64, size);
        }
        groups.push(group);
    }
    let places = groups.iter().flat_map(|&(place, size)| std::iter::repeat_n(place, size));
    let mut out = vec![0.0; wanted.len()];
    for ((rank, &at), place) in order.iter().enumerate().zip(places) {
        out[at] = place.clamp(low, (high - gaps * gap).max(low)) + rank as f64 * gap;
    }
    out
}
