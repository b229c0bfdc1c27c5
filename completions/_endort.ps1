
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'endort' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'endort'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'endort' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read settings from FILE instead of ./endort.toml')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('detect-device', 'detect-device', [CompletionResultType]::ParameterValue, 'Say what this box is and what to run on it')
            [CompletionResult]::new('process-frame', 'process-frame', [CompletionResultType]::ParameterValue, 'Find polyps in pictures')
            [CompletionResult]::new('stream', 'stream', [CompletionResultType]::ParameterValue, 'Find polyps in recordings and live sources')
            [CompletionResult]::new('bench', 'bench', [CompletionResultType]::ParameterValue, 'Measure whether this box holds the budget')
            [CompletionResult]::new('optimize', 'optimize', [CompletionResultType]::ParameterValue, 'Make the model that runs best on a kind of box, and show what that costs')
            [CompletionResult]::new('render', 'render', [CompletionResultType]::ParameterValue, 'Render a colonoscopy that never was, with its ground truth')
            [CompletionResult]::new('serve', 'serve', [CompletionResultType]::ParameterValue, 'Serve live rooms over HTTP and WebSocket')
            break
        }
        'endort;detect-device' {
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'Look at the machine whose /proc, /sys, /dev, /etc, /usr and /var lie below DIR')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read settings from FILE instead of ./endort.toml')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document and nothing else')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'endort;process-frame' {
            [CompletionResult]::new('--overlay', '--overlay', [CompletionResultType]::ParameterName, 'Write each picture with its findings drawn, as PNG, to this file or folder')
            [CompletionResult]::new('--mask', '--mask', [CompletionResultType]::ParameterName, 'Write each picture''s mask, an 8-bit PNG of 0 and 255, to this file or folder')
            [CompletionResult]::new('--model', '--model', [CompletionResultType]::ParameterName, 'Model: a package folder, an .onnx file, a built-in name, or `none` (the video passes unmarked)')
            [CompletionResult]::new('--runtime', '--runtime', [CompletionResultType]::ParameterName, 'Runtime that executes the model: candle-cpu, candle-cuda, candle-metal, onnxruntime, openvino, tflite, edge-tpu, or auto, the fastest by `endort bench --runtime all` [default: auto]')
            [CompletionResult]::new('--precision', '--precision', [CompletionResultType]::ParameterName, 'Number format that the model must hold [default: its own]')
            [CompletionResult]::new('--threads', '--threads', [CompletionResultType]::ParameterName, 'Threads for the model [default: one per core]')
            [CompletionResult]::new('--target-fps', '--target-fps', [CompletionResultType]::ParameterName, 'Frames per second that the budget asks for [default: 30]')
            [CompletionResult]::new('--max-latency-ms', '--max-latency-ms', [CompletionResultType]::ParameterName, 'Longest time from captured to presented before a frame is a violation [default: 200]')
            [CompletionResult]::new('--buffer-size', '--buffer-size', [CompletionResultType]::ParameterName, 'Frames that may wait for the AI [default: 5]')
            [CompletionResult]::new('--device', '--device', [CompletionResultType]::ParameterName, 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]')
            [CompletionResult]::new('--optimization-level', '--optimization-level', [CompletionResultType]::ParameterName, 'How far the model is rewritten before it runs [default: high]')
            [CompletionResult]::new('--runtime-path', '--runtime-path', [CompletionResultType]::ParameterName, 'Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read settings from FILE instead of ./endort.toml')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON record per picture and nothing else')
            [CompletionResult]::new('--no-ai', '--no-ai', [CompletionResultType]::ParameterName, 'Let the video pass without running a model')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'endort;stream' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write the video with its findings drawn to this file, or for several sources into this folder')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write the video with its findings drawn to this file, or for several sources into this folder')
            [CompletionResult]::new('--results', '--results', [CompletionResultType]::ParameterName, 'Write each frame''s record to this file or folder; `-` prints them as JSON Lines and nothing else')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Format of the records [default: by the file''s ending, else jsonl]')
            [CompletionResult]::new('--pace', '--pace', [CompletionResultType]::ParameterName, 'Whether frames come when they are due, or as fast as they are taken; live sources have their own pace')
            [CompletionResult]::new('--policy', '--policy', [CompletionResultType]::ParameterName, 'What happens to a frame that the AI has no time for [default: every-frame, newest-wins for live sources]')
            [CompletionResult]::new('--model', '--model', [CompletionResultType]::ParameterName, 'Model: a package folder, an .onnx file, a built-in name, or `none` (the video passes unmarked)')
            [CompletionResult]::new('--runtime', '--runtime', [CompletionResultType]::ParameterName, 'Runtime that executes the model: candle-cpu, candle-cuda, candle-metal, onnxruntime, openvino, tflite, edge-tpu, or auto, the fastest by `endort bench --runtime all` [default: auto]')
            [CompletionResult]::new('--precision', '--precision', [CompletionResultType]::ParameterName, 'Number format that the model must hold [default: its own]')
            [CompletionResult]::new('--threads', '--threads', [CompletionResultType]::ParameterName, 'Threads for the model [default: one per core]')
            [CompletionResult]::new('--target-fps', '--target-fps', [CompletionResultType]::ParameterName, 'Frames per second that the budget asks for [default: 30]')
            [CompletionResult]::new('--max-latency-ms', '--max-latency-ms', [CompletionResultType]::ParameterName, 'Longest time from captured to presented before a frame is a violation [default: 200]')
            [CompletionResult]::new('--buffer-size', '--buffer-size', [CompletionResultType]::ParameterName, 'Frames that may wait for the AI [default: 5]')
            [CompletionResult]::new('--device', '--device', [CompletionResultType]::ParameterName, 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]')
            [CompletionResult]::new('--optimization-level', '--optimization-level', [CompletionResultType]::ParameterName, 'How far the model is rewritten before it runs [default: high]')
            [CompletionResult]::new('--runtime-path', '--runtime-path', [CompletionResultType]::ParameterName, 'Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read settings from FILE instead of ./endort.toml')
            [CompletionResult]::new('--resume', '--resume', [CompletionResultType]::ParameterName, 'Skip the sources that the ledger calls finished with the same content and settings')
            [CompletionResult]::new('--retry-failed', '--retry-failed', [CompletionResultType]::ParameterName, 'Like --resume, and try those again that failed')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the summary as one JSON document and nothing else')
            [CompletionResult]::new('--no-ai', '--no-ai', [CompletionResultType]::ParameterName, 'Let the video pass without running a model')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'endort;bench' {
            [CompletionResult]::new('--model', '--model', [CompletionResultType]::ParameterName, 'Model to measure; repeat it for several')
            [CompletionResult]::new('--runtime', '--runtime', [CompletionResultType]::ParameterName, 'Runtime to measure (candle-cpu, onnxruntime, openvino, tflite, …), or `all`; repeat it for several [default: auto]')
            [CompletionResult]::new('--precision', '--precision', [CompletionResultType]::ParameterName, 'Number format that the model must hold; repeat it for several [default: its own]')
            [CompletionResult]::new('--threads', '--threads', [CompletionResultType]::ParameterName, 'Threads for the model [default: one per core]')
            [CompletionResult]::new('--pace', '--pace', [CompletionResultType]::ParameterName, 'Whether frames come when they are due, or as fast as they are taken')
            [CompletionResult]::new('--duration', '--duration', [CompletionResultType]::ParameterName, 'Seconds to measure for; the source is repeated if it is shorter [default: the source once]')
            [CompletionResult]::new('--warmup', '--warmup', [CompletionResultType]::ParameterName, 'Frames that are run first and not counted')
            [CompletionResult]::new('--streams', '--streams', [CompletionResultType]::ParameterName, 'Streams at once, or `auto`: how many this box holds within the budget')
            [CompletionResult]::new('--ground-truth', '--ground-truth', [CompletionResultType]::ParameterName, 'Also measure accuracy against DIR/images and DIR/masks (equal stems)')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Write the report as JSON to FILE; `-` prints it and nothing else')
            [CompletionResult]::new('--csv', '--csv', [CompletionResultType]::ParameterName, 'Write the report as CSV to FILE')
            [CompletionResult]::new('--markdown', '--markdown', [CompletionResultType]::ParameterName, 'Write the report as Markdown to FILE')
            [CompletionResult]::new('--compare', '--compare', [CompletionResultType]::ParameterName, 'Say what changed beyond noise since the JSON report in FILE')
            [CompletionResult]::new('--target-fps', '--target-fps', [CompletionResultType]::ParameterName, 'Frames per second that the budget asks for [default: 30]')
            [CompletionResult]::new('--max-latency-ms', '--max-latency-ms', [CompletionResultType]::ParameterName, 'Longest time from captured to presented before a frame is a violation [default: 200]')
            [CompletionResult]::new('--buffer-size', '--buffer-size', [CompletionResultType]::ParameterName, 'Frames that may wait for the AI [default: 5]')
            [CompletionResult]::new('--device', '--device', [CompletionResultType]::ParameterName, 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]')
            [CompletionResult]::new('--optimization-level', '--optimization-level', [CompletionResultType]::ParameterName, 'How far the model is rewritten before it runs [default: high]')
            [CompletionResult]::new('--runtime-path', '--runtime-path', [CompletionResultType]::ParameterName, 'Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read settings from FILE instead of ./endort.toml')
            [CompletionResult]::new('--forget', '--forget', [CompletionResultType]::ParameterName, 'Forget which runtime `--runtime all` found the fastest for the models, and measure nothing')
            [CompletionResult]::new('--check', '--check', [CompletionResultType]::ParameterName, 'Exit with 3 if a run misses its budget')
            [CompletionResult]::new('--no-ai', '--no-ai', [CompletionResultType]::ParameterName, 'Let the video pass without running a model')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'endort;optimize' {
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Kind of device that the package is for')
            [CompletionResult]::new('--precision', '--precision', [CompletionResultType]::ParameterName, 'Number format: fp32 as in the original; fp16, half its size; int8, a quarter of it and the fastest, but it has to see pictures (--calibration) [default: fp16 for jetson, apple and intel, int8 for coral and raspberry-pi, else fp32]')
            [CompletionResult]::new('--input-size', '--input-size', [CompletionResultType]::ParameterName, 'Change the network''s input to WxH pixels')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Folder to write the package to [default: MODEL-TARGET-PRECISION]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Folder to write the package to [default: MODEL-TARGET-PRECISION]')
            [CompletionResult]::new('--calibration', '--calibration', [CompletionResultType]::ParameterName, 'Pictures or video from where the model is to work: int8 finds the range of each activation on them, and all number formats are compared with the original on them; repeat it for several [default: rendered]')
            [CompletionResult]::new('--calibration-frames', '--calibration-frames', [CompletionResultType]::ParameterName, 'Frames to calibrate on, spread evenly')
            [CompletionResult]::new('--calibration-method', '--calibration-method', [CompletionResultType]::ParameterName, 'How the range of an activation is chosen')
            [CompletionResult]::new('--percentile', '--percentile', [CompletionResultType]::ParameterName, 'Percent of the values that --calibration-method percentile keeps')
            [CompletionResult]::new('--keep-float', '--keep-float', [CompletionResultType]::ParameterName, 'Keep a layer in floats; `auto` keeps the twentieth of the layers that hurts most; repeat it for several')
            [CompletionResult]::new('--ground-truth', '--ground-truth', [CompletionResultType]::ParameterName, 'Measure Dice before and after on DIR/images and DIR/masks (equal stems)')
            [CompletionResult]::new('--max-dice-drop', '--max-dice-drop', [CompletionResultType]::ParameterName, 'Largest drop in Dice before the package is refused')
            [CompletionResult]::new('--runtime', '--runtime', [CompletionResultType]::ParameterName, 'Runtime that both networks are measured on: candle-cpu, onnxruntime, openvino, tflite, … [default: candle-cpu]')
            [CompletionResult]::new('--runtime-path', '--runtime-path', [CompletionResultType]::ParameterName, 'Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH')
            [CompletionResult]::new('--threads', '--threads', [CompletionResultType]::ParameterName, 'Threads [default: one per core]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read settings from FILE instead of ./endort.toml')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the report as JSON and nothing else')
            [CompletionResult]::new('--no-bias-correction', '--no-bias-correction', [CompletionResultType]::ParameterName, 'Do not make biases up for the rounding of weights')
            [CompletionResult]::new('--sensitivity', '--sensitivity', [CompletionResultType]::ParameterName, 'List the layers by how much quantizing each alone changes the outputs (int8)')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'endort;render' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Folder to write to; made if it is not there')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Folder to write to; made if it is not there')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Name of the clip and of its ground truth, without ending [default: `colonoscopy-{HEIGHT}p{FPS}`]')
            [CompletionResult]::new('--size', '--size', [CompletionResultType]::ParameterName, 'Size of the frames')
            [CompletionResult]::new('--fps', '--fps', [CompletionResultType]::ParameterName, 'Frames per second: a number, or a fraction such as 30000/1001')
            [CompletionResult]::new('--duration', '--duration', [CompletionResultType]::ParameterName, 'Length of the clip; 0 renders stills alone')
            [CompletionResult]::new('--start', '--start', [CompletionResultType]::ParameterName, 'Where on the camera''s way the clip begins')
            [CompletionResult]::new('--seed', '--seed', [CompletionResultType]::ParameterName, 'Chooses the colon, its polyps, the camera''s way and the noise')
            [CompletionResult]::new('--stills', '--stills', [CompletionResultType]::ParameterName, 'Also render N stills with masks, each of another colon; every fourth shows no polyp')
            [CompletionResult]::new('--view', '--view', [CompletionResultType]::ParameterName, 'Shape of the picture within the frame [default: octagon for the clip, all in turn for stills]')
            [CompletionResult]::new('--crf', '--crf', [CompletionResultType]::ParameterName, 'Constant quality of the clip''s H.264: 0 (lossless) to 51')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read settings from FILE instead of ./endort.toml')
            [CompletionResult]::new('--no-polyps', '--no-polyps', [CompletionResultType]::ParameterName, 'Leave out the polyps; all else stays as it is')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document that says what was written, and nothing else')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'endort;serve' {
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8080]')
            [CompletionResult]::new('--room', '--room', [CompletionResultType]::ParameterName, 'Start a room with the server; repeat it for several. SOURCE is one recording, an address, a camera, `synthetic`, or `push`')
            [CompletionResult]::new('--token-file', '--token-file', [CompletionResultType]::ParameterName, 'Ask for a token: FILE has a line per token, `view NAME TOKEN` or `operate NAME TOKEN`')
            [CompletionResult]::new('--tls-cert', '--tls-cert', [CompletionResultType]::ParameterName, 'Speak TLS with this certificate chain (PEM)')
            [CompletionResult]::new('--tls-key', '--tls-key', [CompletionResultType]::ParameterName, 'The certificate''s private key (PEM)')
            [CompletionResult]::new('--allow-origin', '--allow-origin', [CompletionResultType]::ParameterName, 'Also take requests from pages of this origin, such as https://ward.example; repeat it for several')
            [CompletionResult]::new('--allow-host', '--allow-host', [CompletionResultType]::ParameterName, 'Also answer to this host name where there are no tokens; repeat it for several')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How events are written to standard error [default: text]')
            [CompletionResult]::new('--audit-log', '--audit-log', [CompletionResultType]::ParameterName, 'Keep who started and stopped what, with which model and settings, in this append-only, chained file')
            [CompletionResult]::new('--record', '--record', [CompletionResultType]::ParameterName, 'Record the rooms'' video and findings in this folder; video that comes coded is kept as it is')
            [CompletionResult]::new('--model', '--model', [CompletionResultType]::ParameterName, 'Model: a package folder, an .onnx file, a built-in name, or `none` (the video passes unmarked)')
            [CompletionResult]::new('--runtime', '--runtime', [CompletionResultType]::ParameterName, 'Runtime that executes the model: candle-cpu, candle-cuda, candle-metal, onnxruntime, openvino, tflite, edge-tpu, or auto, the fastest by `endort bench --runtime all` [default: auto]')
            [CompletionResult]::new('--precision', '--precision', [CompletionResultType]::ParameterName, 'Number format that the model must hold [default: its own]')
            [CompletionResult]::new('--threads', '--threads', [CompletionResultType]::ParameterName, 'Threads for the model [default: one per core]')
            [CompletionResult]::new('--target-fps', '--target-fps', [CompletionResultType]::ParameterName, 'Frames per second that the budget asks for [default: 30]')
            [CompletionResult]::new('--max-latency-ms', '--max-latency-ms', [CompletionResultType]::ParameterName, 'Longest time from captured to presented before a frame is a violation [default: 200]')
            [CompletionResult]::new('--buffer-size', '--buffer-size', [CompletionResultType]::ParameterName, 'Frames that may wait for the AI [default: 5]')
            [CompletionResult]::new('--device', '--device', [CompletionResultType]::ParameterName, 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]')
            [CompletionResult]::new('--optimization-level', '--optimization-level', [CompletionResultType]::ParameterName, 'How far the model is rewritten before it runs [default: high]')
            [CompletionResult]::new('--runtime-path', '--runtime-path', [CompletionResultType]::ParameterName, 'Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read settings from FILE instead of ./endort.toml')
            [CompletionResult]::new('--deidentify', '--deidentify', [CompletionResultType]::ParameterName, 'Keep everything outside the endoscope''s picture (text panels, time stamps) away from viewers and recordings')
            [CompletionResult]::new('--check-config', '--check-config', [CompletionResultType]::ParameterName, 'Check the settings, the token file, the certificate and the rooms, then exit')
            [CompletionResult]::new('--no-ai', '--no-ai', [CompletionResultType]::ParameterName, 'Let the video pass without running a model')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say which settings are in force and where each came from')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
