//! Models that are part of the program.

/// A package that was compiled in.
pub struct Builtin {
    /// What `--model` calls it.
    pub name: &'static str,
    /// `model.json`.
    pub manifest: &'static [u8],
    /// The package's other files.
    pub files: &'static [(&'static str, &'static [u8])],
}

static BUILTINS: &[Builtin] = &[Builtin {
    name: "polyp-lite",
    manifest: include_bytes!("../../models/polyp-lite/model.json"),
    files: &[("polyp-lite.onnx", include_bytes!("../../models/polyp-lite/polyp-lite.onnx"))],
}];

/// The built-in model of that name.
pub fn find(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|b| b.name == name)
}

/// Names of the built-in models.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|b| b.name)
}
