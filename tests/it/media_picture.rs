//! Still pictures in and out.

use std::io::Cursor;

use endort::Error;
use endort::cancel::Cancel;
use endort::frame::{Color, Matrix, Picture, PixelFormat, Plane, Range};
use endort::sink::picture::{encode_jpeg, write_mask, write_overlay};
use endort::source::{OpenOptions, open, picture};
use image::{DynamicImage, GrayImage, ImageFormat, LumaA, Rgb, RgbImage, Rgba};

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

fn gradient() -> RgbImage {
    RgbImage::from_fn(7, 5, |x, y| Rgb([x as u8 * 30, y as u8 * 50, 100]))
}

#[test]
fn lossless_formats_give_every_sample() {
    let image = DynamicImage::from(gradient());
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        let picture = picture::decode(&encode(&image, format), "p").unwrap();
        assert_eq!((picture.width(), picture.height(), picture.format()), (7, 5, PixelFormat::Rgb24));
        assert_eq!(picture.plane(0).bytes(), image.as_bytes(), "{format:?}");
        assert_eq!(picture.color().range, Range::Full);
    }
}

#[test]
fn grey_stays_grey_deep_becomes_eight_bit_and_transparent_becomes_black() {
    let grey = DynamicImage::from(GrayImage::from_fn(4, 3, |x, y| image::Luma([(x * 60 + y) as u8])));
    let picture = picture::decode(&encode(&grey, ImageFormat::Png), "p").unwrap();
    assert_eq!((picture.format(), picture.plane(0).bytes()), (PixelFormat::Gray8, grey.as_bytes()));

    let deep = DynamicImage::ImageRgb16(image::ImageBuffer::from_pixel(2, 1, Rgb([0xffff, 0x8080, 0])));
    let picture = picture::decode(&encode(&deep, ImageFormat::Png), "p").unwrap();
    assert_eq!(picture.plane(0).bytes(), [255, 128, 0, 255, 128, 0]);

    let mut clear = image::RgbaImage::from_pixel(2, 1, Rgba([200, 100, 50, 255]));
    clear.put_pixel(1, 0, Rgba([200, 100, 50, 51]));
    let picture = picture::decode(&encode(&clear.into(), ImageFormat::Png), "p").unwrap();
    assert_eq!(picture.plane(0).bytes(), [200, 100, 50, 40, 20, 10]);

    let veil = image::ImageBuffer::from_pixel(1, 1, LumaA([100_u8, 0]));
    let picture = picture::decode(&encode(&DynamicImage::ImageLumaA8(veil), ImageFormat::Png), "p").unwrap();
    assert_eq!((picture.format(), picture.plane(0).bytes()), (PixelFormat::Gray8, &[0][..]));
}

#[test]
fn orientation_is_applied() {
    let jpeg = encode(
        &DynamicImage::from(GrayImage::from_fn(16, 8, |x, _| image::Luma([x as u8 * 16]))),
        ImageFormat::Jpeg,
    );
    // An EXIF segment that says "turn a quarter to the right": one entry, tag 0x0112, SHORT, 6.
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    let mut turned = jpeg[..2].to_vec();
    turned.extend([0xff, 0xe1]);
    turned.extend((exif.len() as u16 + 2).to_be_bytes());
    turned.append(&mut exif);
    turned.extend(&jpeg[2..]);
    let picture = picture::decode(&turned, "p").unwrap();
    assert_eq!((picture.width(), picture.height()), (8, 16));
    assert!(picture.plane(0).row(0)[0] < 20 && picture.plane(0).row(15)[0] > 220, "dark was left, is on top");
}

#[test]
fn a_picture_is_a_source_of_one_frame() {
    let folder = tempfile::tempdir().unwrap();
    // Recognised by content, whatever it is called.
    let path = folder.path().join("frame7.dat");
    std::fs::write(&path, encode(&gradient().into(), ImageFormat::Png)).unwrap();
    let mut source = open(path.to_str().unwrap(), &OpenOptions::default(), &Cancel::new()).unwrap();
    assert_eq!((source.info().frames, source.info().codec.as_str()), (Some(1), "png"));
    assert_eq!(&*source.next().unwrap().unwrap().source, "frame7.dat");
    assert!(source.next().unwrap().is_none());
}

#[test]
fn overlays_are_written_by_their_ending() {
    let folder = tempfile::tempdir().unwrap();
    let picture = picture::decode(&encode(&gradient().into(), ImageFormat::Png), "p").unwrap();
    for (name, exact) in
        [("a.png", true), ("a.bmp", true), ("a.TIFF", true), ("a.webp", true), ("a.jpg", false)]
    {
        let path = folder.path().join(name);
        write_overlay(&path, &picture).unwrap();
        let back = picture::decode_file(&path, name).unwrap();
        assert_eq!((back.width(), back.height()), (7, 5), "{name}");
        assert_eq!(back.plane(0).bytes() == picture.plane(0).bytes(), exact, "{name}");
    }
    assert!(matches!(write_overlay(&folder.path().join("a.xyz"), &picture), Err(Error::Output { .. })));
    assert!(matches!(write_overlay(&folder.path().join("no/a.png"), &picture), Err(Error::Write { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5, "nothing is left over");
}

#[test]
fn ycbcr_is_converted_by_its_matrix_and_range() {
    // Pure red: BT.709 limited range is (63, 102, 240), BT.601 full range is (76, 85, 255).
    for (matrix, range, [y, cb, cr]) in
        [(Matrix::Bt709, Range::Limited, [63, 102, 240]), (Matrix::Bt601, Range::Full, [76, 85, 255])]
    {
        let plane = |value: u8, side: usize| Plane::from_vec(vec![value; side * side], side, side).unwrap();
        let planes = vec![plane(y, 16), plane(cb, 8), plane(cr, 8)];
        let picture = Picture::new(16, 16, PixelFormat::Yuv420, Color { matrix, range }, planes).unwrap();
        let rgb = endort::av::convert::rgb(&picture).unwrap();
        let [r, g, b] = [rgb[0], rgb[1], rgb[2]];
        assert!(r > 251 && g < 4 && b < 4, "{matrix:?} {range:?}: {r} {g} {b}");
        let jpeg = picture::decode(&encode_jpeg(&picture, 95).unwrap(), "p").unwrap();
        assert!(jpeg.plane(0).row(8)[24] > 245, "{matrix:?} {range:?}");
    }
}

#[test]
fn masks_are_black_and_white_at_their_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    write_mask(&path, 3, 2, &[0, 255, 0, 255, 255, 0]).unwrap();
    let mask = image::open(&path).unwrap();
    assert!(matches!(&mask, DynamicImage::ImageLuma8(_)));
    assert_eq!(mask.as_bytes(), [0, 255, 0, 255, 255, 0]);
    assert!(matches!(write_mask(&path, 3, 2, &[0; 5]), Err(Error::Output { .. })));
    assert!(matches!(write_mask(&path, 1, 1, &[7]), Err(Error::Output { .. })));
}
