//! Colours: skins of wall and polyps, and the camera's response from light to code values.

use super::geometry::{Vec3, mix, scale};
use super::noise::{Rng, lerp};
use super::polyp::{Kind, Polyp};

/// How a surface reflects; colours are linear light, red, green, blue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Skin {
    /// Where the tone is 0.
    pub pale: Vec3,
    /// Where the tone is 1.
    pub deep: Vec3,
    /// Share of each colour that a full vessel (or groove) takes away.
    pub vessel: Vec3,
    /// Weights of the coarse and the fine vessels.
    pub vessels: [f32; 2],
    /// Weights of the coarse and the fine relief.
    pub relief: [f32; 2],
    /// Strength of highlights.
    pub gloss: f32,
}

impl Skin {
    /// Between two skins.
    pub(super) fn between(a: &Self, b: &Self, t: f32) -> Self {
        let pair = |a: [f32; 2], b: [f32; 2]| [lerp(a[0], b[0], t), lerp(a[1], b[1], t)];
        Self {
            pale: mix(a.pale, b.pale, t),
            deep: mix(a.deep, b.deep, t),
            vessel: mix(a.vessel, b.vessel, t),
            vessels: pair(a.vessels, b.vessels),
            relief: pair(a.relief, b.relief),
            gloss: lerp(a.gloss, b.gloss, t),
        }
    }

    /// The wall's: from the orange-pink of one camera to the paler pink of another.
    pub(super) fn wall(seed: u64) -> Self {
        let mut rng = Rng::new(seed, "wall skin");
        let hue = rng.unit();
        let pale = mix([0.64, 0.215, 0.072], [0.60, 0.225, 0.135], hue);
        let deep = mix([0.45, 0.075, 0.022], [0.41, 0.080, 0.045], hue);
        Self {
            pale,
            deep,
            vessel: [0.30, 0.62, 0.55],
            vessels: [rng.range(0.6, 1.3), rng.range(0.1, 0.35)],
            relief: [1.0, 0.8],
            gloss: rng.range(0.8, 1.3),
        }
    }

    /// A polyp's: redder or paler than the wall around it, without its vessels, with pits instead.
    pub(super) fn polyp(wall: &Self, polyp: &Polyp) -> Self {
        let red = scale_each(wall.deep, [1.06, 0.92, 1.0]);
        let light = scale_each(wall.pale, [1.08, 1.12, 1.18]);
        let (toward, contrast, pits) = match polyp.kind {
            Kind::Sessile => (lerp(0.25, 0.9, polyp.redness), 0.5, 0.42),
            Kind::Pedunculated => (lerp(0.5, 1.0, polyp.redness), 0.5, 0.5),
            Kind::Flat => (lerp(0.15, 0.7, polyp.redness), 0.45, 0.5),
            Kind::Diminutive => (lerp(0.0, 0.75, polyp.redness), 0.4, 0.25),
        };
        let centre = mix(light, red, toward);
        Self {
            pale: mix(centre, light, contrast),
            deep: mix(centre, red, contrast),
            vessel: [0.22, 0.45, 0.42],
            vessels: [0.0, pits],
            relief: [0.25, 1.0],
            gloss: 1.2 * wall.gloss,
        }
    }
}

fn scale_each(a: Vec3, k: Vec3) -> Vec3 {
    [a[0] * k[0], a[1] * k[1], a[2] * k[2]]
}

/// The residue's colour: bile-stained mucus.
pub(super) const RESIDUE: Vec3 = [0.56, 0.27, 0.045];

/// The camera's response: exposure, shoulder and gamma in one table per colour.
#[derive(Debug)]
pub(super) struct Response {
    table: Vec<Vec3>,
}

impl Response {
    const STEPS: usize = 2048;
    /// Light above this is white.
    const TOP: f32 = 6.0;

    pub(super) fn new() -> Self {
        // A little stray light inside the optics lifts the black.
        const STRAY: Vec3 = [0.0036, 0.0028, 0.0026];
        let code = |light: f32, stray: f32| {
            let exposed = 1.0 - (-1.35 * (light + stray)).exp();
            255.0 * exposed.powf(1.0 / 2.2)
        };
        let table = (0..=Self::STEPS)
            .map(|i| {
                let root = i as f32 / Self::STEPS as f32;
                STRAY.map(|stray| code(root * root * Self::TOP, stray))
            })
            .collect();
        Self { table }
    }

    /// Gamma-encoded red, green and blue, 0 to 255, of linear light.
    #[inline]
    pub(super) fn encode(&self, light: Vec3) -> Vec3 {
        // Indexed by the square root: the eye, too, has its steps closer together in the dark.
        let index = scale(light, 1.0 / Self::TOP).map(|x| {
            let i = (x.max(0.0).sqrt() * Self::STEPS as f32) as usize;
            i.min(Self::STEPS)
        });
        [self.table[index[0]][0], self.table[index[1]][1], self.table[index[2]][2]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_rises_from_near_black_to_white() {
        let response = Response::new();
        let mut last = [-1.0; 3];
        for i in 0..200 {
            let code = response.encode([i as f32 * 0.04; 3]);
            assert!((0..3).all(|k| code[k] >= last[k] && code[k] <= 255.0));
            last = code;
        }
        assert!(response.encode([0.0; 3])[0] < 25.0);
        assert!(response.encode([100.0; 3])[1] > 250.0);
        assert!(response.encode([f32::NAN, -1.0, 0.0])[1] < 25.0);
    }
}
