# make demo   build endort and measure this machine on the sample recording
# make test   format, lints, documentation and all tests
#
# Both first install the system packages that are missing, and say so before they do.

CARGO ?= cargo
PYTHON ?= python3
PREFIX ?= /usr/local
SAMPLE = samples/colonoscopy-720p30.mp4

# What to build with. Debian and Ubuntu:
APT_BUILD = ca-certificates gcc libc6-dev pkg-config libclang-dev \
	libavcodec-dev libavdevice-dev libavfilter-dev libavformat-dev libavutil-dev libswscale-dev
# Fedora:
DNF_BUILD = gcc glibc-devel pkgconf-pkg-config clang-devel ffmpeg-free-devel libavcodec-free-devel \
	libavdevice-free-devel libavfilter-free-devel libavformat-free-devel libavutil-free-devel libswscale-free-devel
# macOS, with Homebrew (the compiler comes with Xcode's command line tools):
BREW_BUILD = ffmpeg llvm pkgconf

# What the tests need on top: the ffmpeg program makes clips, Python compares with ONNX Runtime, GStreamer's RTSP
# server is a camera and Chromium looks at the pages (without them those tests are left out).
APT_TEST = chromium curl ffmpeg openssl python3 python3-venv python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good
DNF_TEST = chromium curl ffmpeg-free openssl python3
BREW_TEST = openssl python3

.PHONY: demo test build lint generate docs install packages packages-test clean

demo: build
	target/release/endort bench $(SAMPLE)

build: packages
	$(CARGO) build --release

test: packages-test .venv/ready lint
	@if $(CARGO) nextest --version >/dev/null 2>&1; then set -x; $(CARGO) nextest run; \
	else echo "cargo-nextest is not installed: testing with cargo test"; set -x; $(CARGO) test --lib --bins --tests --examples; fi
	$(CARGO) test --doc

lint: packages
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps

# completions/ and man/ from the command line's definition, docs/openapi.json from the server
generate: packages
	ENDORT_UPDATE=1 $(CARGO) test --test it generated

# what the commands in the guide print, on this machine
docs: build
	tools/refresh-docs target/release/endort

# after make build, so that it can run as root where only you have Rust
install:
	@test -x target/release/endort || { echo "run make build first"; exit 1; }
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install target/release/endort $(DESTDIR)$(PREFIX)/bin/
	install -m 644 man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/

packages:
	@APT="$(APT_BUILD)" DNF="$(DNF_BUILD)" BREW="$(BREW_BUILD)" tools/install-packages

packages-test:
	@APT="$(APT_BUILD) $(APT_TEST)" DNF="$(DNF_BUILD) $(DNF_TEST)" BREW="$(BREW_BUILD) $(BREW_TEST)" tools/install-packages

.venv/ready: tests/requirements.txt | packages-test
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

clean:
	$(CARGO) clean
	rm -rf .venv
