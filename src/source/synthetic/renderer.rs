//! One frame from beginning to end.

use rayon::prelude::*;

use super::anatomy::Tube;
use super::camera::{Attraction, Course, Lens, Path};
use super::geometry::Vec3;
use super::look::{FieldOfView, draw_panel};
use super::noise::Rng;
use super::options::Options;
use super::polyp::{Polyp, mark_contacts, populate};
use super::raster::{BAND, Band, DrawList, NOTHING, Spans};
use super::scene::{draw_mesh, draw_wall};
use super::sensor::{Samples, Sensor, blur, soften};
use super::shade::{Shader, WALL};
use super::skin::{Response, Skin};
use super::texture::Textures;
use super::truth::{PolypView, measure};
use crate::error::{Error, Result};
use crate::frame::{Color, Matrix, Picture, PixelFormat, Plane, Range};

/// Black and neutral chroma of limited range.
const BLACK: u8 = 16;
const NEUTRAL: u8 = 128;
/// Share of the frame time for which the shutter is open.
const SHUTTER: f64 = 0.3;
/// Brightness that the automatic exposure aims at, in linear light before the skin takes its share.
const EXPOSURE: f32 = 0.98;

/// A frame with its ground truth.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The picture, 4:2:0, BT.709, limited range.
    pub picture: Picture,
    /// For each pixel (row-major) the number of the polyp that is seen there, from 1; 0 for none.
    pub labels: Vec<u8>,
    /// The polyps of which at least one pixel is seen, by number.
    pub polyps: Vec<PolypView>,
}

impl Rendered {
    /// A mask of all polyps that an observer would notice: 0 or 255, row-major.
    pub fn mask(&self) -> Vec<u8> {
        let mut shown = [false; 256];
        for polyp in self.polyps.iter().filter(|polyp| polyp.noticeable) {
            shown[usize::from(polyp.id)] = true;
        }
        self.labels.iter().map(|&label| if shown[usize::from(label)] { 255 } else { 0 }).collect()
    }
}

/// Renders frames of one colon; see the module's documentation.
#[derive(Debug)]
pub struct Renderer {
    options: Options,
    tube: Tube,
    polyps: Vec<Polyp>,
    textures: Textures,
    skins: Vec<Skin>,
    response: Response,
    path: Path,
    field: FieldOfView,
    lens: Lens,
    sensor: Sensor,
    lamp: f32,
}

impl Renderer {
    /// Prepares the scene: about half a second of work for one core.
    ///
    /// Fails with [`Error::Setting`] where [`Options::check`] does.
    pub fn new(options: Options) -> Result<Self> {
        options.check("synthetic")?;
        let seed = options.seed;
        let (mut tube, textures) = rayon::join(|| Tube::new(seed), || Textures::new(seed));
        let mut polyps = populate(seed, &tube);
        let attractions = polyps
            .iter()
            .map(|polyp| {
                let [s, theta, radius] = polyp.middle(&tube);
                Attraction { s, theta, radius, strength: 0.7 }
            })
            .collect();
        // Without polyps the camera goes the same way, so that the pictures can be compared.
        let path = Path::new(seed, attractions);
        if !options.polyps {
            polyps.clear();
        }
        mark_contacts(&mut tube, &polyps);
        let wall = Skin::wall(seed);
        let skins = std::iter::once(wall).chain(polyps.iter().map(|p| Skin::polyp(&wall, p))).collect();
        let field = FieldOfView::new(&options);
        let lens = Lens::new(field.centre, field.reach);
        let lamp = Rng::new(seed, "lamp").range(0.7, 1.3);
        Ok(Self {
            tube,
            polyps,
            textures,
            skins,
            response: Response::new(),
            path,
            field,
            lens,
            sensor: Sensor::new(seed),
            lamp,
            options,
        })
    }

    /// What it renders.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Frame `number` without ground truth.
    pub fn picture(&self, number: u64) -> Result<Picture> {
        self.draw(number).map(|(picture, _)| picture)
    }

    /// Frame `number` with ground truth.
    pub fn render(&self, number: u64) -> Result<Rendered> {
        let (picture, labels) = self.draw(number)?;
        let course = self.path.look(&self.tube, self.time(number));
        let alone = |index: usize| self.area_alone(index, &course);
        let polyps = measure(&labels, &picture, &self.polyps, self.field.area(), alone);
        Ok(Rendered { picture, labels, polyps })
    }

    /// Seconds at which frame `number` is taken.
    fn time(&self, number: u64) -> f64 {
        number as f64 * self.options.frame_time()
    }

    /// Pixels of the frame that polyp `index` would cover if nothing hid it.
    fn area_alone(&self, index: usize, course: &Course) -> usize {
        let size = (self.options.width, self.options.height);
        let polyp = &self.polyps[index];
        let mut list = DrawList::new(size.1);
        let mesh = (polyp.mesh.vertices.as_slice(), polyp.mesh.triangles.as_slice());
        draw_mesh(&mut list, mesh, (polyp.s, 0), course, &self.lens, size);
        let whole: Spans = vec![(0, size.0); size.1];
        let mut band = Band::new(size.0);
        (0..size.1.div_ceil(BAND))
            .map(|index| {
                band.clear();
                list.draw(index, &whole, &mut band);
                (0..BAND).map(|row| band.row(row).1.iter().filter(|s| **s != NOTHING).count()).sum::<usize>()
            })
            .sum()
    }

    fn draw(&self, number: u64) -> Result<(Picture, Vec<u8>)> {
        let (width, height) = (self.options.width, self.options.height);
        let time = self.time(number);
        let course = self.path.look(&self.tube, time);
        let mut list = DrawList::new(height);
        for (i, polyp) in self.polyps.iter().enumerate() {
            let mesh = (polyp.mesh.vertices.as_slice(), polyp.mesh.triangles.as_slice());
            draw_mesh(&mut list, mesh, (polyp.s, i as u8 + 1), &course, &self.lens, (width, height));
        }
        let meter = draw_wall(&mut list, &self.tube, &course, &self.lens, (width, height));
        let shader = Shader {
            textures: &self.textures,
            skins: &self.skins,
            response: &self.response,
            gain: EXPOSURE * self.lamp / meter.mean().max(0.05),
            pixel: 1.0 / self.lens.focal,
        };
        let (mut planes, labels) = self.shade(&list, &shader);
        self.finish(&mut planes, number, time, &course);
        let half = width.div_ceil(2);
        let planes = planes
            .into_iter()
            .zip([(width, height), (half, height.div_ceil(2)), (half, height.div_ceil(2))])
            .filter_map(|(bytes, (w, h))| Plane::from_vec(bytes, w, h))
            .collect();
        let color = Color { matrix: Matrix::Bt709, range: Range::Limited };
        let picture = Picture::new(width, height, PixelFormat::Yuv420, color, planes);
        let picture = picture.ok_or_else(|| Error::TooLarge {
            what: "the rendered picture".to_owned(),
            found: format!("{width}x{height} pixels"),
            limit: "the memory's address space".to_owned(),
        })?;
        Ok((picture, labels))
    }

    /// Rasterises and shades all bands into Y, Cb and Cr planes, and labels.
    fn shade(&self, list: &DrawList, shader: &Shader<'_>) -> ([Vec<u8>; 3], Vec<u8>) {
        let (width, height) = (self.options.width, self.options.height);
        let half = width.div_ceil(2);
        let mut luma = vec![BLACK; width * height];
        let mut blue = vec![NEUTRAL; half * height.div_ceil(2)];
        let mut red = blue.clone();
        let mut labels = vec![0; width * height];
        let chroma = half * BAND / 2;
        luma.par_chunks_mut(width * BAND)
            .zip(blue.par_chunks_mut(chroma).zip(red.par_chunks_mut(chroma)))
            .zip(labels.par_chunks_mut(width * BAND))
            .enumerate()
            .for_each_init(
                || (Band::new(width), vec![[0.0; 3]; 2 * width]),
                |(band, colors), (index, ((luma, (blue, red)), labels))| {
                    band.clear();
                    list.draw(index, &self.field.spans, band);
                    let mut out = Output { luma, blue, red, labels, width };
                    out.fill(shader, band, &self.field.spans[index * BAND..], colors);
                },
            );
        ([luma, blue, red], labels)
    }

    /// Softness, motion blur, noise, then the black outside the field of view and the panel.
    fn finish(&self, planes: &mut [Vec<u8>; 3], number: u64, time: f64, course: &Course) {
        let width = self.options.width;
        let [dx, dy] = self.drift(time, course);
        for (i, plane) in planes.iter_mut().enumerate() {
            let (width, part) = if i == 0 { (width, 1.0) } else { (width.div_ceil(2), 0.5) };
            let mut samples = Samples { data: plane, width };
            if i == 0 {
                soften(&mut samples);
            }
            blur(&mut samples, dx * part, dy * part);
            let (dark, bright) = if i == 0 { (1.7, 0.9) } else { (0.9, 0.6) };
            self.sensor.add_noise(&mut samples, number, i as u64, dark, bright);
        }
        let [luma, blue, red] = planes;
        for (y, (start, end)) in self.field.spans.iter().enumerate() {
            let row = &mut luma[y * width..(y + 1) * width];
            row[..*start].fill(BLACK);
            row[*end..].fill(BLACK);
            if y % 2 == 0 {
                let half = width.div_ceil(2);
                for plane in [&mut *blue, &mut *red] {
                    let row = &mut plane[y / 2 * half..(y / 2 + 1) * half];
                    row[..start.div_ceil(2)].fill(NEUTRAL);
                    row[end / 2..].fill(NEUTRAL);
                }
            }
        }
        if self.options.panel {
            let seconds = time as u64;
            let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
            let lines = ["RENDERED".to_owned(), "NO PATIENT".to_owned(), String::new()];
            let lines: Vec<String> =
                lines.into_iter().chain([format!("SEED {}", self.options.seed), clock]).collect();
            draw_panel(luma, width, &self.field, &lines);
        }
    }

    /// How far the middle of the picture moves while the shutter is open, in pixels.
    fn drift(&self, time: f64, course: &Course) -> [f32; 2] {
        let later = self.path.look(&self.tube, time + SHUTTER * self.options.frame_time());
        // The ring that lies about two radii ahead stands for the scene.
        let ring = &course.rings[course.rings.len() / 4];
        let place = |course: &Course| {
            let first = course.rings.first()?.index;
            let p = course.rings.get((ring.index - first) as usize)?.centre;
            let d = p.iter().map(|x| x * x).sum::<f32>().sqrt();
            self.lens.project(p, d)
        };
        match (place(course), place(&later)) {
            (Some(a), Some(b)) => [b[0] - a[0], b[1] - a[1]],
            _ => [0.0, 0.0],
        }
    }
}

/// A band of the three planes and of the labels.
struct Output<'a> {
    luma: &'a mut [u8],
    blue: &'a mut [u8],
    red: &'a mut [u8],
    labels: &'a mut [u8],
    width: usize,
}

impl Output<'_> {
    /// Shades two rows at a time: their luma, and one row of chroma from both.
    fn fill(&mut self, shader: &Shader<'_>, band: &Band, spans: &[(usize, usize)], colors: &mut [Vec3]) {
        let (width, half) = (self.width, self.width.div_ceil(2));
        let rows = self.luma.len() / width;
        for pair in 0..rows.div_ceil(2) {
            colors.fill([0.0; 3]);
            for (row, colors) in (2 * pair..rows.min(2 * pair + 2)).zip(colors.chunks_mut(width)) {
                let (attributes, surfaces) = band.row(row);
                let (start, end) = spans[row];
                shader.row(&attributes[start..end], &surfaces[start..end], &mut colors[start..end]);
                let luma = &mut self.luma[row * width..(row + 1) * width];
                for (luma, [r, g, b]) in luma.iter_mut().zip(colors.iter()) {
                    *luma = (16.5 + 0.182_586 * r + 0.614_231 * g + 0.062_007 * b) as u8;
                }
                let labels = &mut self.labels[row * width..(row + 1) * width];
                for (label, &surface) in labels[start..end].iter_mut().zip(&surfaces[start..end]) {
                    *label = if surface == NOTHING { WALL } else { surface };
                }
            }
            // An odd last row or column stands for its missing neighbour.
            let second = if 2 * pair + 1 < rows { width } else { 0 };
            for x in 0..half {
                let (left, right) = (2 * x, (2 * x + 1).min(width - 1));
                let four = [colors[left], colors[right], colors[second + left], colors[second + right]];
                let mean = |k: usize| 0.25 * (four[0][k] + four[1][k] + four[2][k] + four[3][k]);
                let (r, g, b) = (mean(0), mean(1), mean(2));
                self.blue[pair * half + x] = (128.5 - 0.100_644 * r - 0.338_572 * g + 0.439_216 * b) as u8;
                self.red[pair * half + x] = (128.5 + 0.439_216 * r - 0.398_942 * g - 0.040_274 * b) as u8;
            }
        }
    }
}
