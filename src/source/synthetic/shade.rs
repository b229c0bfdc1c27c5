//! Light and colour of a pixel from its surface's attributes.

use super::anatomy::PERIOD;
use super::geometry::{Vec3, mix};
use super::raster::{Attributes, NOTHING, attribute};
use super::skin::{RESIDUE, Response, Skin};
use super::texture::{COARSE_ALONG, FINE_ALONG, FINE_AROUND, FINE_SIDE, MAX_SLOPE, Textures, Tile};

/// Surface number of the wall; polyps follow it.
pub(super) const WALL: u8 = 0;

/// Width of the sharp highlight and of the sheen around it, as slopes.
const SHARP: f32 = 0.11;
const SHEEN: f32 = 0.5;

/// What shading needs beside the attributes.
#[derive(Debug)]
pub(super) struct Shader<'a> {
    pub textures: &'a Textures,
    /// Skins by surface number, the wall's first.
    pub skins: &'a [Skin],
    pub response: &'a Response,
    /// Exposure: what all light is multiplied with.
    pub gain: f32,
    /// Size of a pixel at distance 1.
    pub pixel: f32,
}

impl Shader<'_> {
    /// Gamma-encoded colours (0 to 255) of a row; pixels that nothing covers are black.
    pub(super) fn row(&self, attributes: &[Attributes], surfaces: &[u8], out: &mut [Vec3]) {
        for ((pixel, &surface), out) in attributes.iter().zip(surfaces).zip(out) {
            *out = if surface == NOTHING {
                self.response.encode([0.0; 3])
            } else {
                self.response.encode(self.light(pixel, surface))
            };
        }
    }

    /// Linear light that a surface sends to the camera.
    #[inline]
    fn light(&self, a: &Attributes, surface: u8) -> Vec3 {
        let distance = a[attribute::DISTANCE];
        let (u, v) = (a[attribute::U], a[attribute::V]);
        let (coarse_level, fine_level) = self.levels(distance);
        let textures = self.textures;
        let on_wall = surface == WALL;
        let (coarse, fine, body) = if on_wall {
            let coarse = textures.coarse.sample(coarse_level, u * (COARSE_ALONG / PERIOD), v);
            let fine = textures.fine.sample(fine_level, u * (FINE_ALONG / PERIOD), v * FINE_AROUND);
            (coarse, fine, 1.0)
        } else {
            let (u, v) = (u / FINE_SIDE, v / FINE_SIDE);
            let coarse =
                textures.coarse.sample(coarse_level, u * (1.0 / FINE_AROUND), v * (1.0 / FINE_AROUND));
            (coarse, textures.pits.sample(fine_level, u, v), a[attribute::COVER].clamp(0.0, 1.0))
        };
        let mixed;
        let skin = if on_wall {
            &self.skins[0]
        } else if body > 0.999 {
            &self.skins[surface as usize]
        } else {
            mixed = Skin::between(&self.skins[0], &self.skins[surface as usize], body);
            &mixed
        };
        let unit = |texel: u32, shift: u32| ((texel >> shift) & 255) as f32 * (1.0 / 255.0);
        let slope = |shift: u32, weights: [f32; 2]| {
            let signed = |texel: u32| ((texel >> shift) & 255) as f32 - 128.0;
            (signed(coarse) * weights[0] + signed(fine) * weights[1]) * (MAX_SLOPE / 127.0)
        };
        let mut tone = 0.55 * unit(coarse, 8) + 0.45 * unit(fine, 8) + a[attribute::TONE];
        tone = tone.clamp(0.0, 1.0);
        let taken = unit(coarse, 0) * skin.vessels[0] + unit(fine, 0) * skin.vessels[1];
        let mut color: Vec3 = std::array::from_fn(|k| {
            let base = skin.pale[k] + (skin.deep[k] - skin.pale[k]) * tone;
            base * (1.0 - skin.vessel[k] * taken.min(1.0))
        });
        if on_wall && a[attribute::COVER] > 0.01 {
            // Residue has a ragged edge: the texture's tone decides where it begins.
            let edge = ((a[attribute::COVER] * 1.6 - 0.2 - 0.9 * unit(fine, 8)) * 1.6).clamp(0.0, 0.62);
            color = mix(color, RESIDUE, edge);
        }
        let (hu, hv) = (slope(16, skin.relief), slope(24, skin.relief));
        let (mu, mv) = (a[attribute::MIRROR_U], a[attribute::MIRROR_V]);
        let diffuse = a[attribute::LIGHT] * (1.0 - 0.5 * (hu * mu + hv * mv)).clamp(0.35, 1.6) * self.gain;
        let off = (hu + mu) * (hu + mu) + (hv + mv) * (hv + mv);
        let mut shine = 0.0;
        if off < 6.0 * SHEEN * SHEEN {
            let lobe = |width: f32| {
                let t = (1.0 - off / (6.0 * width * width)).max(0.0);
                (t * t) * (t * t) * t
            };
            let strength = skin.gloss * self.gain / (distance * distance + 0.12);
            // Only where mucus lies is the surface a mirror; elsewhere it is merely moist.
            let wet = ((unit(coarse, 8) - 0.5) * 5.0).clamp(0.0, 1.0);
            shine = strength * (2.8 * wet * lobe(SHARP) + 0.035 * lobe(SHEEN));
        }
        color.map(|c| c * diffuse + shine)
    }

    /// Levels of the coarse and the fine tiles whose texels are about as large as a pixel at `distance`.
    #[inline]
    fn levels(&self, distance: f32) -> (usize, usize) {
        // The exponent of a float is the whole part of its binary logarithm.
        let log2 = |x: f32| ((x.to_bits() >> 23) as usize).saturating_sub(127).min(Tile::LAST_LEVEL);
        let pixel = 1.6 * self.pixel * distance;
        (log2(pixel * 163.0), log2(pixel * 489.0))
    }
}
