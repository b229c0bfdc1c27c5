//! Ground truth of a frame: which polyps are seen, where, and how well.

use super::outline::Region;
use super::polyp::{Kind, Polyp};
use crate::frame::Picture;

/// Smallest share of the field of view that a polyp must cover to count as noticeable.
const MIN_SHARE: f64 = 0.0012;
/// Lowest mean luma (limited range) at which a polyp counts as noticeable.
const MIN_LUMA: f64 = 45.0;

/// A polyp as one frame shows it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PolypView {
    /// Its number within the colon, from 1; the same in every frame.
    pub id: u8,
    /// Its shape.
    pub kind: Kind,
    /// `[x, y, width, height]` of what is seen of it, in pixels.
    #[serde(rename = "box")]
    pub bbox: [usize; 4],
    /// Number of its pixels.
    pub area_px: usize,
    /// Share of it that nothing hides: neither a fold, nor another polyp, nor the edge of the picture.
    pub visibility: f32,
    /// Mean luma of its pixels, 16 to 235.
    pub luma: f32,
    /// Whether it is large and bright enough for an observer to mark it.
    pub noticeable: bool,
    /// Outlines of what is seen of it, `[x, y]` in pixels, one per connected piece, largest first.
    pub polygons: Vec<Vec<[f32; 2]>>,
}

/// Finds the polyps in a label image.
///
/// `alone` gives the number of pixels that a polyp would cover if nothing hid it.
pub(super) fn measure(
    labels: &[u8],
    picture: &Picture,
    polyps: &[Polyp],
    field: usize,
    alone: impl Fn(usize) -> usize,
) -> Vec<PolypView> {
    #[derive(Clone, Copy)]
    struct Extent {
        low: [usize; 2],
        high: [usize; 2],
        area: usize,
        luma: u64,
    }
    let width = picture.width();
    let empty = Extent { low: [usize::MAX; 2], high: [0; 2], area: 0, luma: 0 };
    let mut extents = vec![empty; polyps.len() + 1];
    for (y, row) in labels.chunks(width).enumerate() {
        let luma = picture.plane(0).row(y);
        for (x, &label) in row.iter().enumerate().filter(|(_, label)| **label != 0) {
            if let Some(extent) = extents.get_mut(usize::from(label)) {
                extent.low = [extent.low[0].min(x), extent.low[1].min(y)];
                extent.high = [extent.high[0].max(x), extent.high[1].max(y)];
                extent.area += 1;
                extent.luma += u64::from(luma[x]);
            }
        }
    }
    let seen = extents.iter().enumerate().skip(1).filter(|(_, extent)| extent.area > 0);
    seen.map(|(i, extent)| {
        let luma = extent.luma as f64 / extent.area as f64;
        let [x, y] = extent.low;
        let bbox = [x, y, extent.high[0] + 1 - x, extent.high[1] + 1 - y];
        PolypView {
            id: i as u8,
            kind: polyps[i - 1].kind,
            bbox,
            area_px: extent.area,
            visibility: (extent.area as f32 / alone(i - 1).max(1) as f32).min(1.0),
            luma: luma as f32,
            noticeable: extent.area as f64 >= MIN_SHARE * field as f64 && luma >= MIN_LUMA,
            polygons: Region { labels, width, label: i as u8, bbox }.outlines(),
        }
    })
    .collect()
}
