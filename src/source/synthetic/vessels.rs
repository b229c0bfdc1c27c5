//! Branching submucosal vessels, drawn on a repeating tile by a random walk that forks.

use std::f32::consts::TAU;

use super::noise::Rng;

/// One piece of vessel that is still to be grown.
struct Shoot {
    x: f32,
    y: f32,
    heading: f32,
    /// Half width in texels.
    width: f32,
    /// Length that remains, in texels.
    length: f32,
    generation: u32,
}

/// Cover of vessels (0..1) on `size` × `size` texels that show `side` radii of wall.
pub(super) fn draw(rng: &mut Rng, size: usize, side: f32) -> Vec<f32> {
    /// Trunks per tile: wide and deep ones first, then fine ones near the surface.
    const TRUNKS: [(usize, f32, f32); 2] = [(10, 0.020, 0.75), (34, 0.0105, 0.95)];
    const MAX_GENERATION: u32 = 6;
    let mut cover = vec![0.0; size * size];
    let scale = size as f32 / side;
    for (count, width, strength) in TRUNKS {
        let mut shoots: Vec<Shoot> = (0..count)
            .map(|_| Shoot {
                x: rng.range(0.0, size as f32),
                y: rng.range(0.0, size as f32),
                heading: rng.range(0.0, TAU),
                width: width * scale * rng.range(0.7, 1.2),
                length: rng.range(0.5, 1.1) * scale,
                generation: 0,
            })
            .collect();
        while let Some(mut shoot) = shoots.pop() {
            grow(rng, &mut cover, size, &mut shoot, strength);
            if shoot.generation >= MAX_GENERATION || shoot.width < 0.35 {
                continue;
            }
            // Murray's law: the cubes of the branches' widths add up to the cube of the trunk's.
            let major = rng.range(0.5, 0.85);
            let turn = rng.range(0.35, 0.9);
            let hand = if rng.unit() < 0.5 { 1.0 } else { -1.0 };
            for (share, angle) in [(major, -0.4 * turn * hand), (1.0 - major, turn * hand)] {
                shoots.push(Shoot {
                    x: shoot.x,
                    y: shoot.y,
                    heading: shoot.heading + angle,
                    width: shoot.width * f32::cbrt(share),
                    length: rng.range(0.18, 0.65) * scale,
                    generation: shoot.generation + 1,
                });
            }
        }
    }
    cover
}

/// Walks a shoot to its end and paints it.
fn grow(rng: &mut Rng, cover: &mut [f32], size: usize, shoot: &mut Shoot, strength: f32) {
    let (mut curl, mut drift) = (0.0, rng.normal() * 0.01);
    // Thin vessels are fainter: less blood between the camera and the tissue behind.
    let depth = strength * (0.5 + 0.3 * shoot.width).min(1.0);
    while shoot.length > 0.0 {
        curl = 0.86 * curl + 0.05 * rng.normal();
        if rng.unit() < 0.02 {
            drift = rng.normal() * 0.015;
        }
        shoot.heading += curl + drift;
        shoot.x += shoot.heading.cos();
        shoot.y += shoot.heading.sin();
        shoot.width *= 0.9985;
        shoot.length -= 1.0;
        dab(cover, size, shoot.x, shoot.y, shoot.width, depth);
    }
}

/// Paints a soft dot; overlapping dots do not add up.
fn dab(cover: &mut [f32], size: usize, x: f32, y: f32, width: f32, depth: f32) {
    let reach = width + 1.2;
    let (x0, x1) = ((x - reach).floor() as i64, (x + reach).ceil() as i64);
    let (y0, y1) = ((y - reach).floor() as i64, (y + reach).ceil() as i64);
    for py in y0..=y1 {
        for px in x0..=x1 {
            let d = (px as f32 - x).hypot(py as f32 - y) / reach;
            if d < 1.0 {
                let value = depth * (1.0 - d * d) * (1.0 - d * d * d * d);
                let n = size as i64;
                let texel = &mut cover[py.rem_euclid(n) as usize * size + px.rem_euclid(n) as usize];
                *texel = texel.max(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vessels_cover_a_part_of_the_tile() {
        let cover = draw(&mut Rng::new(4, "vessels"), 256, TAU);
        let share = cover.iter().filter(|v| **v > 0.2).count() as f32 / cover.len() as f32;
        assert!((0.03..0.6).contains(&share), "{share}");
        assert!(cover.iter().all(|v| (0.0..=1.0).contains(v)));
    }
}
