// Findings on a canvas that lies over the picture: a bright outline with a dark rim, readable by luminance alone.
const COLOUR = "#00e6ff";
const RIM = "#000c";

/** Draws `detections`, measured in a frame of `width` × `height`, over the whole canvas. */
export function draw(canvas, detections, width, height) {
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!detections.length) return;
  const scale = canvas.width / width;
  const pen = Math.max(2, canvas.width / 400);
  context.lineJoin = "round";
  for (const detection of detections) {
    const path = outline(detection, scale, canvas.height / height);
    for (const [colour, thickness] of [[RIM, pen * 2.2], [COLOUR, pen]]) {
      context.strokeStyle = colour;
      context.lineWidth = thickness;
      context.stroke(path);
    }
  }
  for (const detection of detections) label(context, canvas, detection, scale, canvas.height / height, pen);
}

function outline({ polygon, box }, x, y) {
  const path = new Path2D();
  if (polygon?.length > 2) {
    polygon.forEach(([px, py], index) => (index ? path.lineTo(px * x, py * y) : path.moveTo(px * x, py * y)));
    path.closePath();
  } else {
    path.rect(box[0] * x, box[1] * y, box[2] * x, box[3] * y);
  }
  return path;
}

function label(context, canvas, { label, score, track_id, box }, x, y, pen) {
  const size = Math.max(12, pen * 7);
  const text = `${label} ${Math.round(score * 100)}%${track_id == null ? "" : ` #${track_id}`}`;
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.direction = "ltr";
  context.textBaseline = "top";
  const width = context.measureText(text).width + size * 0.8;
  const height = size * 1.4;
  const left = Math.min(Math.max(0, box[0] * x), canvas.width - width);
  const above = box[1] * y - height - pen * 2;
  const top = above >= 0 ? above : Math.min((box[1] + box[3]) * y + pen * 2, canvas.height - height);
  context.fillStyle = "#000c";
  context.fillRect(left, top, width, height);
  context.fillStyle = "#fff";
  context.textAlign = "left";
  context.fillText(text, left + size * 0.4, top + size * 0.22);
}
