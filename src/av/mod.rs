//! The one home of `ffmpeg_next`: everything that `source/` and `sink/` need of FFmpeg.
