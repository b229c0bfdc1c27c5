use serde_json::json;

use super::*;
use crate::record::Detection;
use crate::vision::metrics::Overlap;
use crate::vision::testing::Random;
use crate::vision::{Crop, polygon};

const INPUT: (usize, usize) = (352, 288);
const CELLS: (usize, usize) = (88, 72);
const SOURCE: (usize, usize) = (1920, 1080);

fn manifest(outputs: serde_json::Value, labels: &[&str], thresholds: serde_json::Value) -> Manifest {
    serde_json::from_value(json!({
        "schema": 1, "name": "test", "task": "detection", "artifact": "none.onnx",
        "input": {"name": "image", "width": INPUT.0, "height": INPUT.1},
        "outputs": outputs, "labels": labels, "thresholds": thresholds,
    }))
    .unwrap()
}

fn mask_manifest(thresholds: serde_json::Value) -> Manifest {
    manifest(json!([{"name": "mask", "kind": "mask"}]), &["polyp"], thresholds)
}

fn tensor(name: &str, shape: &[usize], data: Vec<f32>) -> HostTensor {
    HostTensor { name: name.to_owned(), shape: shape.to_vec(), data }
}

fn geometry() -> Geometry {
    let crop = Crop { x: 300, y: 10, width: 1300, height: 1064 };
    Geometry::fit(crop, INPUT, crate::model::manifest::Fit::Letterbox)
}

/// Logits whose sign follows the distance to the nearest disc's edge; discs are in source pixels.
fn discs(discs: &[(f32, f32, f32)]) -> HostTensor {
    let geometry = geometry();
    let scale = (INPUT.0 / CELLS.0) as f32;
    let value = |i: usize| {
        let (x, y) = ((i % CELLS.0) as f32 + 0.5, (i / CELLS.0) as f32 + 0.5);
        let (x, y) = geometry.to_source(x * scale, y * scale);
        let inside = |&(cx, cy, r): &(f32, f32, f32)| (r - (x - cx).hypot(y - cy)) / 20.0;
        discs.iter().map(inside).fold(-6.0, f32::max)
    };
    tensor("mask", &[1, 1, CELLS.1, CELLS.0], (0..CELLS.0 * CELLS.1).map(value).collect())
}

fn run(manifest: &Manifest, outputs: &[HostTensor]) -> Findings {
    try_run(manifest, outputs).unwrap()
}

fn try_run(manifest: &Manifest, outputs: &[HostTensor]) -> Result<Findings> {
    Postprocessor::new(manifest)?.run(outputs, &geometry(), SOURCE.0, SOURCE.1)
}

fn assert_box(detection: &Detection, expected: [f32; 4], tolerance: f32) {
    let near =
        detection.bbox.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= tolerance);
    assert!(near, "{:?} against {expected:?}", detection.bbox);
}

/// Twice the area, positive if the outline runs clockwise on a screen.
fn shoelace(points: &[[f32; 2]]) -> f32 {
    let edge = |i: usize| {
        let (a, b) = (points[i], points[(i + 1) % points.len()]);
        a[0] * b[1] - b[0] * a[1]
    };
    (0..points.len()).map(edge).sum()
}

#[test]
fn a_disc_is_found_where_it_is_to_a_fraction_of_a_cell() {
    // A cell is about 15 source pixels wide.
    let findings = run(&mask_manifest(json!({})), &[discs(&[(900.0, 500.0, 150.0)])]);
    let [found] = findings.detections.as_slice() else { panic!("{:?}", findings.detections) };
    assert_box(found, [750.0, 350.0, 300.0, 300.0], 3.0);
    let area = std::f32::consts::PI * 150.0 * 150.0;
    assert!((found.area_px.unwrap() as f32 / area - 1.0).abs() < 0.02);
    assert!(found.score > 0.8 && found.score < 1.0);
    let polygon = found.polygon.as_ref().unwrap();
    assert!((shoelace(polygon) / 2.0 / area - 1.0).abs() < 0.03, "clockwise, of the disc's area");
    assert!((8..100).contains(&polygon.len()), "{} points", polygon.len());
    let off = polygon.iter().map(|p| ((p[0] - 900.0).hypot(p[1] - 500.0) - 150.0).abs()).fold(0.0, f32::max);
    assert!(off < 4.0, "{off} px off the circle");
}

#[test]
fn findings_come_best_first_and_what_is_small_or_weak_is_absent() {
    let outputs = [discs(&[(500.0, 300.0, 60.0), (1200.0, 700.0, 200.0), (600.0, 900.0, 25.0)])];
    let all = run(&mask_manifest(json!({"min_area": 0.0})), &outputs).detections;
    assert_eq!(all.len(), 3);
    assert!(all.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert!(all[0].bbox[2] > 300.0, "the largest disc has the surest inside");

    let large = run(&mask_manifest(json!({"min_area": 0.003})), &outputs);
    assert_eq!(large.detections.len(), 2);
    let sure = run(&mask_manifest(json!({"score": 0.8, "min_area": 0.0})), &outputs);
    assert_eq!(sure.detections.len(), 1);

    // The mask shows what is reported, and no more.
    let lit = |findings: &Findings| {
        let mask = findings.map.as_ref().unwrap().rasterize(SOURCE.0, SOURCE.1);
        let at = |x: usize, y: usize| mask[y * SOURCE.0 + x];
        [at(500, 300), at(1200, 700), at(600, 900)]
    };
    assert_eq!(lit(&large), [255, 255, 0]);
    assert_eq!(lit(&sure), [0, 255, 0]);
}

#[test]
fn diagonal_neighbours_are_one_finding() {
    // Cells as large as pixels, so that the map is not interpolated.
    let mut manifest = mask_manifest(json!({"min_area": 0.0}));
    (manifest.input.width, manifest.input.height) = (8, 8);
    let lit = |cells: &[(usize, usize)]| {
        let mut data = vec![-9.0; 64];
        cells.iter().for_each(|&(x, y)| data[y * 8 + x] = 9.0);
        let geometry = Geometry::fit(Crop::whole(8, 8), (8, 8), crate::model::manifest::Fit::Stretch);
        let mut postprocessor = Postprocessor::new(&manifest).unwrap();
        postprocessor.run(&[tensor("mask", &[1, 1, 8, 8], data)], &geometry, 8, 8).unwrap().detections
    };
    let stairs = lit(&[(1, 1), (2, 2), (3, 3), (2, 4)]);
    assert_eq!(stairs.len(), 1);
    assert_eq!(stairs[0].area_px, Some(4));
    assert_box(&stairs[0], [1.0, 1.0, 3.0, 4.0], 1e-3);
    assert_eq!(lit(&[(1, 1), (3, 1), (5, 6)]).len(), 3);
    assert_eq!(lit(&[(0, 0), (7, 7)]).len(), 2, "corners of the picture");
    assert_eq!(lit(&(0..64).map(|i| (i % 8, i / 8)).collect::<Vec<_>>()).len(), 1);
}

#[test]
fn mask_outline_and_area_agree_on_random_blobs() {
    let mut random = Random::new(7);
    let manifest = mask_manifest(json!({"min_area": 0.002}));
    for _ in 0..15 {
        let blobs: Vec<(f32, f32, f32)> = (0..random.between(1, 5))
            .map(|_| {
                (300.0 + 1300.0 * random.unit(), 10.0 + 1060.0 * random.unit(), 40.0 + 160.0 * random.unit())
            })
            .collect();
        let findings = run(&manifest, &[discs(&blobs)]);
        let mask = findings.map.as_ref().unwrap().rasterize(SOURCE.0, SOURCE.1);
        let pixels = mask.iter().filter(|&&value| value == 255).count() as f64;
        let area: u64 = findings.detections.iter().filter_map(|d| d.area_px).sum();
        assert!((area as f64 - pixels).abs() <= 0.02 * pixels + 50.0, "{area} against {pixels}: {blobs:?}");
        let mut outlines = vec![0; SOURCE.0 * SOURCE.1];
        for detection in &findings.detections {
            let points = detection.polygon.as_ref().unwrap();
            polygon::fill(points, SOURCE.0, SOURCE.1, |y, columns| {
                outlines[y * SOURCE.0..][columns].fill(255);
            });
            let [x, y, w, h] = detection.bbox;
            assert!(x >= 0.0 && y >= 0.0 && x + w <= SOURCE.0 as f32 && y + h <= SOURCE.1 as f32);
        }
        let iou = Overlap::count(&outlines, &mask).iou();
        assert!(findings.detections.is_empty() || iou > 0.96, "{iou}: {blobs:?}");
    }
}

#[test]
fn nothing_is_found_in_the_padding() {
    let data = vec![5.0; CELLS.0 * CELLS.1];
    let tall = Geometry::fit(Crop::whole(400, 1080), INPUT, crate::model::manifest::Fit::Letterbox);
    let mut postprocessor = Postprocessor::new(&mask_manifest(json!({}))).unwrap();
    let findings = postprocessor.run(&[tensor("mask", &[1, 1, 72, 88], data)], &tall, 400, 1080).unwrap();
    assert_eq!(findings.detections.len(), 1);
    assert_box(&findings.detections[0], [0.0, 0.0, 400.0, 1080.0], 0.01);
    assert!(findings.map.unwrap().rasterize(400, 1080).iter().all(|&value| value == 255));
}

#[test]
fn a_low_frame_score_silences_the_frame_and_its_mask() {
    let outputs = json!([{"name": "mask", "kind": "mask"}, {"name": "any", "kind": "frame_score"}]);
    let manifest = manifest(outputs, &["polyp"], json!({"frame": 0.5}));
    for (logit, expected) in [(1.0, 1), (-1.0, 0)] {
        let findings =
            run(&manifest, &[discs(&[(900.0, 500.0, 150.0)]), tensor("any", &[1, 1], vec![logit])]);
        assert_eq!(findings.detections.len(), expected);
        let mask = findings.map.unwrap().rasterize(SOURCE.0, SOURCE.1);
        assert_eq!(mask.contains(&255), expected == 1);
    }
}

#[test]
fn classes_have_their_own_findings_in_one_mask() {
    let (first, second) =
        (discs(&[(700.0, 500.0, 100.0)]), discs(&[(1100.0, 500.0, 120.0), (500.0, 200.0, 25.0)]));
    let data = [first.data, second.data].concat();
    let manifest =
        manifest(json!([{"name": "mask", "kind": "mask"}]), &["polyp", "tool"], json!({"min_area": 0.005}));
    let findings = run(&manifest, &[tensor("mask", &[1, 2, CELLS.1, CELLS.0], data)]);
    let mut labels: Vec<_> =
        findings.detections.iter().map(|d| (d.label.as_str(), d.bbox[0] < 700.0)).collect();
    labels.sort_unstable();
    assert_eq!(labels, [("polyp", true), ("tool", false)]);
    let mask = findings.map.unwrap().rasterize(SOURCE.0, SOURCE.1);
    let at = |x: usize, y: usize| mask[y * SOURCE.0 + x];
    assert_eq!([at(700, 500), at(1100, 500), at(500, 200), at(900, 900)], [255, 255, 0, 0]);
}

#[test]
fn values_that_are_not_finite_are_an_error_that_names_the_output() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut output = discs(&[(900.0, 500.0, 150.0)]);
        output.data[CELLS.0 * 3 + 70] = bad;
        let error = try_run(&mask_manifest(json!({})), &[output]).unwrap_err().to_string();
        assert!(error.contains("output mask") && error.contains("not finite"), "{error}");
    }
}

#[test]
fn outputs_that_do_not_fit_the_manifest_are_errors() {
    let manifest = mask_manifest(json!({}));
    let cells = CELLS.0 * CELLS.1;
    for (output, expected) in [
        (tensor("other", &[1, 1, 72, 88], vec![0.0; cells]), "no output mask"),
        (tensor("mask", &[1, 2, 72, 88], vec![0.0; 2 * cells]), "expected [1, 1, h, w]"),
        (tensor("mask", &[1, 1, 72, 88], vec![0.0; cells - 1]), "as many values"),
        (tensor("mask", &[1, 1, 0, 88], vec![]), "expected [1, 1, h, w]"),
        (tensor("mask", &[usize::MAX, 2], vec![]), "as many values"),
    ] {
        let error = try_run(&manifest, &[output]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn manifests_that_contradict_themselves_are_errors() {
    for outputs in [
        json!([]),
        json!([{"name": "any", "kind": "frame_score"}]),
        json!([{"name": "a", "kind": "mask"}, {"name": "b", "kind": "mask"}]),
        json!([{"name": "a", "kind": "mask"}, {"name": "b", "kind": "yolo"}]),
        json!([{"name": "a", "kind": "ssd_boxes"}]),
    ] {
        assert!(Postprocessor::new(&manifest(outputs.clone(), &["polyp"], json!({}))).is_err(), "{outputs}");
    }
    let mask = json!([{"name": "mask", "kind": "mask"}]);
    assert!(Postprocessor::new(&manifest(mask.clone(), &[], json!({}))).is_err());
    assert!(Postprocessor::new(&manifest(mask, &["polyp"], json!({"mask": 1.5}))).is_err());
}

#[test]
fn noise_is_answered_in_bounds() {
    let mut random = Random::new(9);
    let manifest = mask_manifest(json!({"min_area": 0.0, "score": 0.0}));
    let mut postprocessor = Postprocessor::new(&manifest).unwrap();
    let noise: Vec<f32> = (0..INPUT.0 * INPUT.1).map(|_| random.unit() * 12.0 - 9.0).collect();
    let geometry = Geometry::fit(Crop::whole(640, 480), INPUT, crate::model::manifest::Fit::Stretch);
    let output = tensor("mask", &[1, 1, INPUT.1, INPUT.0], noise);
    let findings = postprocessor.run(&[output], &geometry, 640, 480).unwrap();
    assert_eq!(findings.detections.len(), MAX_FINDINGS);
    for detection in &findings.detections {
        assert!((0.0..=1.0).contains(&detection.score));
        assert!(detection.polygon.as_ref().is_some_and(|polygon| !polygon.is_empty()));
    }
}

/// Boxes as (centre x, centre y, width, height, score of each class) in input pixels.
type Row = [f32; 6];

const ROWS: [Row; 4] = [
    [100.0, 100.0, 40.0, 40.0, 0.9, 0.1],
    [104.0, 100.0, 40.0, 40.0, 0.8, 0.1],
    [104.0, 102.0, 40.0, 40.0, 0.1, 0.7],
    [200.0, 150.0, 60.0, 20.0, 0.3, 0.2],
];

fn yolo_manifest(kind: &str) -> Manifest {
    let outputs = json!([{"name": "boxes", "kind": kind, "activation": "probabilities"}]);
    manifest(outputs, &["polyp", "tool"], json!({}))
}

#[test]
fn yolo_boxes_are_read_either_way_round_and_suppressed_per_class() {
    let anchors_last: Vec<f32> = (0..6).flat_map(|field| ROWS.map(|row| row[field])).collect();
    for output in
        [tensor("boxes", &[1, 6, 4], anchors_last), tensor("boxes", &[1, 4, 6], ROWS.as_flattened().to_vec())]
    {
        let findings = run(&yolo_manifest("yolo"), &[output]);
        let found: Vec<_> = findings.detections.iter().map(|d| (d.label.as_str(), d.score)).collect();
        assert_eq!(found, [("polyp", 0.9), ("tool", 0.7)]);
        let scale = 1064.0 / 288.0;
        assert_box(
            &findings.detections[0],
            [300.0 + 80.0 * scale, 10.0 + 80.0 * scale, 40.0 * scale, 40.0 * scale],
            0.5,
        );
        assert!(findings.map.is_none() && findings.detections[0].polygon.is_none());
    }
}

#[test]
fn objectness_multiplies_the_class_score() {
    let rows: Vec<f32> = [(0, 0.9), (2, 0.5)]
        .into_iter()
        .flat_map(|(row, objectness): (usize, f32)| {
            let [x, y, w, h, a, b] = ROWS[row];
            [x, y, w, h, objectness, a, b]
        })
        .collect();
    let findings = run(&yolo_manifest("yolo_objectness"), &[tensor("boxes", &[1, 2, 7], rows)]);
    assert_eq!(findings.detections.len(), 1);
    assert!((findings.detections[0].score - 0.81).abs() < 1e-6);
}

#[test]
fn boxes_are_cut_to_the_field_of_view_and_odd_ones_left_out() {
    let rows = vec![
        [0.0, 0.0, 80.0, 80.0, 0.9, 0.0],
        [100.0, 100.0, -40.0, 40.0, 0.9, 0.0],
        [1e30, 1e30, 1e30, 1e30, 0.9, 0.0],
        [-500.0, 100.0, 40.0, 40.0, 0.9, 0.0],
        [176.0, 144.0, 1e30, 1e30, 0.9, 0.0],
    ];
    let findings = run(&yolo_manifest("yolo"), &[tensor("boxes", &[1, 5, 6], rows.into_flattened())]);
    let boxes: Vec<[f32; 4]> = findings.detections.iter().map(|d| d.bbox).collect();
    assert_eq!(boxes.len(), 2, "{boxes:?}");
    assert!(boxes.contains(&[300.0, 10.0, 1300.0, 1064.0]));
    for [x, y, w, h] in boxes {
        assert!(x >= 300.0 && y >= 10.0 && x + w <= 1600.5 && y + h <= 1074.5);
    }
}

#[test]
fn the_number_of_boxes_is_bounded() {
    let rows: Vec<Row> = (0..5000)
        .map(|i| [(i % 70) as f32 * 5.0, (i / 70) as f32 * 4.0, 12.0, 12.0, 0.5 + i as f32 * 1e-4, 0.0])
        .collect();
    let output = tensor("boxes", &[1, 5000, 6], rows.into_flattened());
    let mut manifest = yolo_manifest("yolo");
    manifest.thresholds.min_area = 0.0;
    let found = run(&manifest, &[output]).detections;
    assert_eq!(found.len(), MAX_FINDINGS);
    assert!((found[0].score - 0.9999).abs() < 1e-5, "the best is kept: {}", found[0].score);
}

#[test]
fn ssd_boxes_with_a_background_class_use_the_softmax() {
    let outputs = json!([{"name": "boxes", "kind": "ssd_boxes"}, {"name": "scores", "kind": "ssd_scores"}]);
    let manifest = manifest(outputs, &["polyp"], json!({}));
    let corners = vec![0.25, 0.25, 0.5, 0.75, 0.1, 0.1, 0.2, 0.2];
    let scores = vec![1.0, 3.0, 4.0, 0.5];
    let findings =
        run(&manifest, &[tensor("boxes", &[1, 2, 4], corners), tensor("scores", &[1, 2, 2], scores)]);
    let [found] = findings.detections.as_slice() else { panic!("{:?}", findings.detections) };
    assert!((found.score - 1.0 / (1.0 + (-2.0f32).exp())).abs() < 1e-6);
    let scale = 1064.0 / 288.0;
    assert_box(found, [300.0 + 88.0 * scale, 10.0 + 72.0 * scale, 176.0 * scale, 72.0 * scale], 1.0);
}

#[test]
fn ssd_outputs_of_different_lengths_are_an_error() {
    let outputs = json!([{"name": "boxes", "kind": "ssd_boxes"}, {"name": "scores", "kind": "ssd_scores"}]);
    let manifest = manifest(outputs, &["polyp"], json!({}));
    let outputs = [tensor("boxes", &[1, 2, 4], vec![0.0; 8]), tensor("scores", &[1, 3, 2], vec![0.0; 6])];
    assert!(try_run(&manifest, &outputs).is_err());
}

#[test]
fn between_cells_logits_are_blended_before_the_sigmoid() {
    let (geometry, scale) = (geometry(), (INPUT.0 / CELLS.0) as f32);
    let threshold = 0.9_f32;
    for edge in [480.0_f32, 484.0, 488.0, 492.0] {
        // Half a logit per source pixel: the sigmoid goes from 0 to 1 within a cell.
        let value = |i: usize| {
            let row = (i / CELLS.0) as f32 + 0.5;
            (edge - geometry.to_source(0.0, row * scale).1) / 2.0
        };
        let mask = tensor("mask", &[1, 1, CELLS.1, CELLS.0], (0..CELLS.0 * CELLS.1).map(value).collect());
        let findings = run(&mask_manifest(json!({"mask": threshold})), &[mask]);
        let [found] = findings.detections.as_slice() else { panic!("{:?}", findings.detections) };
        let expected = edge - 2.0 * (threshold / (1.0 - threshold)).ln();
        let bottom = found.bbox[1] + found.bbox[3];
        assert!((bottom - expected).abs() < 0.3, "{bottom}, not {expected}");
        let mask = findings.map.unwrap().rasterize(SOURCE.0, SOURCE.1);
        let rows = mask.chunks_exact(SOURCE.0).filter(|row| row[900] > 0).count();
        let top = geometry.crop.y as f32;
        assert!((rows as f32 - (expected - top)).abs() <= 0.6, "{rows}, not {}", expected - top);
    }
}
