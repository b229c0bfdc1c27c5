# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_endort_global_optspecs
    string join \n config= v/verbose q/quiet h/help V/version
end

function __fish_endort_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_endort_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_endort_using_subcommand
    set -l cmd (__fish_endort_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c endort -n "__fish_endort_needs_command" -l config -d 'Read settings from FILE instead of ./endort.toml' -r -F
complete -c endort -n "__fish_endort_needs_command" -s v -l verbose -d 'Say which settings are in force and where each came from'
complete -c endort -n "__fish_endort_needs_command" -s q -l quiet -d 'Say nothing but errors'
complete -c endort -n "__fish_endort_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c endort -n "__fish_endort_needs_command" -s V -l version -d 'Print version'
complete -c endort -n "__fish_endort_needs_command" -f -a "detect-device" -d 'Say what this box is and what to run on it'
complete -c endort -n "__fish_endort_needs_command" -f -a "process-frame" -d 'Find polyps in pictures'
complete -c endort -n "__fish_endort_needs_command" -f -a "stream" -d 'Find polyps in recordings and live sources'
complete -c endort -n "__fish_endort_needs_command" -f -a "bench" -d 'Measure whether this box holds the budget'
complete -c endort -n "__fish_endort_needs_command" -f -a "optimize" -d 'Make the model that runs best on a kind of box, and show what that costs'
complete -c endort -n "__fish_endort_needs_command" -f -a "render" -d 'Render a colonoscopy that never was, with its ground truth'
complete -c endort -n "__fish_endort_needs_command" -f -a "serve" -d 'Serve live rooms over HTTP and WebSocket'
complete -c endort -n "__fish_endort_using_subcommand detect-device" -l root -d 'Look at the machine whose /proc, /sys, /dev, /etc, /usr and /var lie below DIR' -r -F
complete -c endort -n "__fish_endort_using_subcommand detect-device" -l config -d 'Read settings from FILE instead of ./endort.toml' -r -F
complete -c endort -n "__fish_endort_using_subcommand detect-device" -l json -d 'Print one JSON document and nothing else'
complete -c endort -n "__fish_endort_using_subcommand detect-device" -s v -l verbose -d 'Say which settings are in force and where each came from'
complete -c endort -n "__fish_endort_using_subcommand detect-device" -s q -l quiet -d 'Say nothing but errors'
complete -c endort -n "__fish_endort_using_subcommand detect-device" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c endort -n "__fish_endort_using_subcommand detect-device" -s V -l version -d 'Print version'
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l overlay -d 'Write each picture with its findings drawn, as PNG, to this file or folder' -r -F
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l mask -d 'Write each picture\'s mask, an 8-bit PNG of 0 and 255, to this file or folder' -r -F
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l model -d 'Model: a package folder, an .onnx file, a built-in name, or `none` (the video passes unmarked)' -r
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l runtime -d 'Runtime that executes the model: candle-cpu, candle-cuda, candle-metal, onnxruntime, openvino, tflite, edge-tpu, or auto, the fastest by `endort bench --runtime all` [default: auto]' -r
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l precision -d 'Number format that the model must hold [default: its own]' -r -f -a "fp32\t''
fp16\t''
int8\t''"
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l threads -d 'Threads for the model [default: one per core]' -r
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l target-fps -d 'Frames per second that the budget asks for [default: 30]' -r
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l max-latency-ms -d 'Longest time from captured to presented before a frame is a violation [default: 200]' -r
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l buffer-size -d 'Frames that may wait for the AI [default: 5]' -r
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l device -d 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]' -r
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l optimization-level -d 'How far the model is rewritten before it runs [default: high]' -r -f -a "off\t''
low\t''
medium\t''
high\t''"
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l runtime-path -d 'Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH' -r
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l config -d 'Read settings from FILE instead of ./endort.toml' -r -F
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l json -d 'Print one JSON record per picture and nothing else'
complete -c endort -n "__fish_endort_using_subcommand process-frame" -l no-ai -d 'Let the video pass without running a model'
complete -c endort -n "__fish_endort_using_subcommand process-frame" -s v -l verbose -d 'Say which settings are in force and where each came from'
complete -c endort -n "__fish_endort_using_subcommand process-frame" -s q -l quiet -d 'Say nothing but errors'
complete -c endort -n "__fish_endort_using_subcommand process-frame" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c endort -n "__fish_endort_using_subcommand process-frame" -s V -l version -d 'Print version'
complete -c endort -n "__fish_endort_using_subcommand stream" -s o -l output -d 'Write the video with its findings drawn to this file, or for several sources into this folder' -r -F
complete -c endort -n "__fish_endort_using_subcommand stream" -l results -d 'Write each frame\'s record to this file or folder; `-` prints them as JSON Lines and nothing else' -r -F
complete -c endort -n "__fish_endort_using_subcommand stream" -l format -d 'Format of the records [default: by the file\'s ending, else jsonl]' -r -f -a "jsonl\t'A JSON document per frame, one to a line'
csv\t'A row per finding'
coco\t'One document in COCO\'s object-detection format'"
complete -c endort -n "__fish_endort_using_subcommand stream" -l pace -d 'Whether frames come when they are due, or as fast as they are taken; live sources have their own pace' -r -f -a "source\t'Each frame when it is due, as from a camera'
max\t'Each frame as soon as there is room for it'"
complete -c endort -n "__fish_endort_using_subcommand stream" -l policy -d 'What happens to a frame that the AI has no time for [default: every-frame, newest-wins for live sources]' -r -f -a "newest-wins\t'It is dropped and counted as soon as a newer one is there'
every-frame\t'It waits, and the source with it'"
complete -c endort -n "__fish_endort_using_subcommand stream" -l model -d 'Model: a package folder, an .onnx file, a built-in name, or `none` (the video passes unmarked)' -r
complete -c endort -n "__fish_endort_using_subcommand stream" -l runtime -d 'Runtime that executes the model: candle-cpu, candle-cuda, candle-metal, onnxruntime, openvino, tflite, edge-tpu, or auto, the fastest by `endort bench --runtime all` [default: auto]' -r
complete -c endort -n "__fish_endort_using_subcommand stream" -l precision -d 'Number format that the model must hold [default: its own]' -r -f -a "fp32\t''
fp16\t''
int8\t''"
complete -c endort -n "__fish_endort_using_subcommand stream" -l threads -d 'Threads for the model [default: one per core]' -r
complete -c endort -n "__fish_endort_using_subcommand stream" -l target-fps -d 'Frames per second that the budget asks for [default: 30]' -r
complete -c endort -n "__fish_endort_using_subcommand stream" -l max-latency-ms -d 'Longest time from captured to presented before a frame is a violation [default: 200]' -r
complete -c endort -n "__fish_endort_using_subcommand stream" -l buffer-size -d 'Frames that may wait for the AI [default: 5]' -r
complete -c endort -n "__fish_endort_using_subcommand stream" -l device -d 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]' -r
complete -c endort -n "__fish_endort_using_subcommand stream" -l optimization-level -d 'How far the model is rewritten before it runs [default: high]' -r -f -a "off\t''
low\t''
medium\t''
high\t''"
complete -c endort -n "__fish_endort_using_subcommand stream" -l runtime-path -d 'Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH' -r
complete -c endort -n "__fish_endort_using_subcommand stream" -l config -d 'Read settings from FILE instead of ./endort.toml' -r -F
complete -c endort -n "__fish_endort_using_subcommand stream" -l resume -d 'Skip the sources that the ledger calls finished with the same content and settings'
complete -c endort -n "__fish_endort_using_subcommand stream" -l retry-failed -d 'Like --resume, and try those again that failed'
complete -c endort -n "__fish_endort_using_subcommand stream" -l json -d 'Print the summary as one JSON document and nothing else'
complete -c endort -n "__fish_endort_using_subcommand stream" -l no-ai -d 'Let the video pass without running a model'
complete -c endort -n "__fish_endort_using_subcommand stream" -s v -l verbose -d 'Say which settings are in force and where each came from'
complete -c endort -n "__fish_endort_using_subcommand stream" -s q -l quiet -d 'Say nothing but errors'
complete -c endort -n "__fish_endort_using_subcommand stream" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c endort -n "__fish_endort_using_subcommand stream" -s V -l version -d 'Print version'
complete -c endort -n "__fish_endort_using_subcommand bench" -l model -d 'Model to measure; repeat it for several' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l runtime -d 'Runtime to measure (candle-cpu, onnxruntime, openvino, tflite, …), or `all`; repeat it for several [default: auto]' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l precision -d 'Number format that the model must hold; repeat it for several [default: its own]' -r -f -a "fp32\t''
fp16\t''
int8\t''"
complete -c endort -n "__fish_endort_using_subcommand bench" -l threads -d 'Threads for the model [default: one per core]' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l pace -d 'Whether frames come when they are due, or as fast as they are taken' -r -f -a "camera\t'Each frame when it is due, as from a camera'
max\t'Each frame as soon as there is room for it'
both\t'First the one, then the other'"
complete -c endort -n "__fish_endort_using_subcommand bench" -l duration -d 'Seconds to measure for; the source is repeated if it is shorter [default: the source once]' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l warmup -d 'Frames that are run first and not counted' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l streams -d 'Streams at once, or `auto`: how many this box holds within the budget' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l ground-truth -d 'Also measure accuracy against DIR/images and DIR/masks (equal stems)' -r -F
complete -c endort -n "__fish_endort_using_subcommand bench" -l json -d 'Write the report as JSON to FILE; `-` prints it and nothing else' -r -F
complete -c endort -n "__fish_endort_using_subcommand bench" -l csv -d 'Write the report as CSV to FILE' -r -F
complete -c endort -n "__fish_endort_using_subcommand bench" -l markdown -d 'Write the report as Markdown to FILE' -r -F
complete -c endort -n "__fish_endort_using_subcommand bench" -l compare -d 'Say what changed beyond noise since the JSON report in FILE' -r -F
complete -c endort -n "__fish_endort_using_subcommand bench" -l target-fps -d 'Frames per second that the budget asks for [default: 30]' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l max-latency-ms -d 'Longest time from captured to presented before a frame is a violation [default: 200]' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l buffer-size -d 'Frames that may wait for the AI [default: 5]' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l device -d 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l optimization-level -d 'How far the model is rewritten before it runs [default: high]' -r -f -a "off\t''
low\t''
medium\t''
high\t''"
complete -c endort -n "__fish_endort_using_subcommand bench" -l runtime-path -d 'Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH' -r
complete -c endort -n "__fish_endort_using_subcommand bench" -l config -d 'Read settings from FILE instead of ./endort.toml' -r -F
complete -c endort -n "__fish_endort_using_subcommand bench" -l forget -d 'Forget which runtime `--runtime all` found the fastest for the models, and measure nothing'
complete -c endort -n "__fish_endort_using_subcommand bench" -l check -d 'Exit with 3 if a run misses its budget'
complete -c endort -n "__fish_endort_using_subcommand bench" -l no-ai -d 'Let the video pass without running a model'
complete -c endort -n "__fish_endort_using_subcommand bench" -s v -l verbose -d 'Say which settings are in force and where each came from'
complete -c endort -n "__fish_endort_using_subcommand bench" -s q -l quiet -d 'Say nothing but errors'
complete -c endort -n "__fish_endort_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c endort -n "__fish_endort_using_subcommand bench" -s V -l version -d 'Print version'
complete -c endort -n "__fish_endort_using_subcommand optimize" -l target -d 'Kind of device that the package is for' -r -f -a "auto\t'What suits this box: the fastest runtime by `endort bench --runtime all`, else what `endort detect-device` says'
cpu\t'Any processor: the fused network as ONNX'
jetson\t'NVIDIA Jetson: ONNX for TensorRT, and its engine where trtexec is there'
coral\t'Google Coral: TensorFlow Lite for the Edge TPU'
raspberry-pi\t'Raspberry Pi, and any processor with LiteRT: TensorFlow Lite'
apple\t'Apple Silicon: ONNX for CoreML and Metal'
intel\t'Intel: ONNX for OpenVINO'"
complete -c endort -n "__fish_endort_using_subcommand optimize" -l precision -d 'Number format: fp32 as in the original; fp16, half its size; int8, a quarter of it and the fastest, but it has to see pictures (--calibration) [default: fp16 for jetson, apple and intel, int8 for coral and raspberry-pi, else fp32]' -r -f -a "fp32\t''
fp16\t''
int8\t''"
complete -c endort -n "__fish_endort_using_subcommand optimize" -l input-size -d 'Change the network\'s input to WxH pixels' -r
complete -c endort -n "__fish_endort_using_subcommand optimize" -s o -l output -d 'Folder to write the package to [default: MODEL-TARGET-PRECISION]' -r -F
complete -c endort -n "__fish_endort_using_subcommand optimize" -l calibration -d 'Pictures or video from where the model is to work: int8 finds the range of each activation on them, and all number formats are compared with the original on them; repeat it for several [default: rendered]' -r
complete -c endort -n "__fish_endort_using_subcommand optimize" -l calibration-frames -d 'Frames to calibrate on, spread evenly' -r
complete -c endort -n "__fish_endort_using_subcommand optimize" -l calibration-method -d 'How the range of an activation is chosen' -r -f -a "min-max\t'Everything that was seen'
percentile\t'All but the outermost values'
mse\t'The range with the least squared error'"
complete -c endort -n "__fish_endort_using_subcommand optimize" -l percentile -d 'Percent of the values that --calibration-method percentile keeps' -r
complete -c endort -n "__fish_endort_using_subcommand optimize" -l keep-float -d 'Keep a layer in floats; `auto` keeps the twentieth of the layers that hurts most; repeat it for several' -r
complete -c endort -n "__fish_endort_using_subcommand optimize" -l ground-truth -d 'Measure Dice before and after on DIR/images and DIR/masks (equal stems)' -r -F
complete -c endort -n "__fish_endort_using_subcommand optimize" -l max-dice-drop -d 'Largest drop in Dice before the package is refused' -r
complete -c endort -n "__fish_endort_using_subcommand optimize" -l runtime -d 'Runtime that both networks are measured on: candle-cpu, onnxruntime, openvino, tflite, … [default: candle-cpu]' -r
complete -c endort -n "__fish_endort_using_subcommand optimize" -l runtime-path -d 'Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH' -r
complete -c endort -n "__fish_endort_using_subcommand optimize" -l threads -d 'Threads [default: one per core]' -r
complete -c endort -n "__fish_endort_using_subcommand optimize" -l config -d 'Read settings from FILE instead of ./endort.toml' -r -F
complete -c endort -n "__fish_endort_using_subcommand optimize" -l json -d 'Print the report as JSON and nothing else'
complete -c endort -n "__fish_endort_using_subcommand optimize" -l no-bias-correction -d 'Do not make biases up for the rounding of weights'
complete -c endort -n "__fish_endort_using_subcommand optimize" -l sensitivity -d 'List the layers by how much quantizing each alone changes the outputs (int8)'
complete -c endort -n "__fish_endort_using_subcommand optimize" -s v -l verbose -d 'Say which settings are in force and where each came from'
complete -c endort -n "__fish_endort_using_subcommand optimize" -s q -l quiet -d 'Say nothing but errors'
complete -c endort -n "__fish_endort_using_subcommand optimize" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c endort -n "__fish_endort_using_subcommand optimize" -s V -l version -d 'Print version'
complete -c endort -n "__fish_endort_using_subcommand render" -s o -l output -d 'Folder to write to; made if it is not there' -r -F
complete -c endort -n "__fish_endort_using_subcommand render" -l name -d 'Name of the clip and of its ground truth, without ending [default: `colonoscopy-{HEIGHT}p{FPS}`]' -r
complete -c endort -n "__fish_endort_using_subcommand render" -l size -d 'Size of the frames' -r
complete -c endort -n "__fish_endort_using_subcommand render" -l fps -d 'Frames per second: a number, or a fraction such as 30000/1001' -r
complete -c endort -n "__fish_endort_using_subcommand render" -l duration -d 'Length of the clip; 0 renders stills alone' -r
complete -c endort -n "__fish_endort_using_subcommand render" -l start -d 'Where on the camera\'s way the clip begins' -r
complete -c endort -n "__fish_endort_using_subcommand render" -l seed -d 'Chooses the colon, its polyps, the camera\'s way and the noise' -r
complete -c endort -n "__fish_endort_using_subcommand render" -l stills -d 'Also render N stills with masks, each of another colon; every fourth shows no polyp' -r
complete -c endort -n "__fish_endort_using_subcommand render" -l view -d 'Shape of the picture within the frame [default: octagon for the clip, all in turn for stills]' -r
complete -c endort -n "__fish_endort_using_subcommand render" -l crf -d 'Constant quality of the clip\'s H.264: 0 (lossless) to 51' -r
complete -c endort -n "__fish_endort_using_subcommand render" -l config -d 'Read settings from FILE instead of ./endort.toml' -r -F
complete -c endort -n "__fish_endort_using_subcommand render" -l no-polyps -d 'Leave out the polyps; all else stays as it is'
complete -c endort -n "__fish_endort_using_subcommand render" -l json -d 'Print one JSON document that says what was written, and nothing else'
complete -c endort -n "__fish_endort_using_subcommand render" -s v -l verbose -d 'Say which settings are in force and where each came from'
complete -c endort -n "__fish_endort_using_subcommand render" -s q -l quiet -d 'Say nothing but errors'
complete -c endort -n "__fish_endort_using_subcommand render" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c endort -n "__fish_endort_using_subcommand render" -s V -l version -d 'Print version'
complete -c endort -n "__fish_endort_using_subcommand serve" -l listen -d 'Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8080]' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l room -d 'Start a room with the server; repeat it for several. SOURCE is one recording, an address, a camera, `synthetic`, or `push`' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l token-file -d 'Ask for a token: FILE has a line per token, `view NAME TOKEN` or `operate NAME TOKEN`' -r -F
complete -c endort -n "__fish_endort_using_subcommand serve" -l tls-cert -d 'Speak TLS with this certificate chain (PEM)' -r -F
complete -c endort -n "__fish_endort_using_subcommand serve" -l tls-key -d 'The certificate\'s private key (PEM)' -r -F
complete -c endort -n "__fish_endort_using_subcommand serve" -l allow-origin -d 'Also take requests from pages of this origin, such as https://ward.example; repeat it for several' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l allow-host -d 'Also answer to this host name where there are no tokens; repeat it for several' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l log-format -d 'How events are written to standard error [default: text]' -r -f -a "text\t'A line for people'
json\t'A JSON document per line'"
complete -c endort -n "__fish_endort_using_subcommand serve" -l audit-log -d 'Keep who started and stopped what, with which model and settings, in this append-only, chained file' -r -F
complete -c endort -n "__fish_endort_using_subcommand serve" -l record -d 'Record the rooms\' video and findings in this folder; video that comes coded is kept as it is' -r -F
complete -c endort -n "__fish_endort_using_subcommand serve" -l model -d 'Model: a package folder, an .onnx file, a built-in name, or `none` (the video passes unmarked)' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l runtime -d 'Runtime that executes the model: candle-cpu, candle-cuda, candle-metal, onnxruntime, openvino, tflite, edge-tpu, or auto, the fastest by `endort bench --runtime all` [default: auto]' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l precision -d 'Number format that the model must hold [default: its own]' -r -f -a "fp32\t''
fp16\t''
int8\t''"
complete -c endort -n "__fish_endort_using_subcommand serve" -l threads -d 'Threads for the model [default: one per core]' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l target-fps -d 'Frames per second that the budget asks for [default: 30]' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l max-latency-ms -d 'Longest time from captured to presented before a frame is a violation [default: 200]' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l buffer-size -d 'Frames that may wait for the AI [default: 5]' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l device -d 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l optimization-level -d 'How far the model is rewritten before it runs [default: high]' -r -f -a "off\t''
low\t''
medium\t''
high\t''"
complete -c endort -n "__fish_endort_using_subcommand serve" -l runtime-path -d 'Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH' -r
complete -c endort -n "__fish_endort_using_subcommand serve" -l config -d 'Read settings from FILE instead of ./endort.toml' -r -F
complete -c endort -n "__fish_endort_using_subcommand serve" -l deidentify -d 'Keep everything outside the endoscope\'s picture (text panels, time stamps) away from viewers and recordings'
complete -c endort -n "__fish_endort_using_subcommand serve" -l check-config -d 'Check the settings, the token file, the certificate and the rooms, then exit'
complete -c endort -n "__fish_endort_using_subcommand serve" -l no-ai -d 'Let the video pass without running a model'
complete -c endort -n "__fish_endort_using_subcommand serve" -s v -l verbose -d 'Say which settings are in force and where each came from'
complete -c endort -n "__fish_endort_using_subcommand serve" -s q -l quiet -d 'Say nothing but errors'
complete -c endort -n "__fish_endort_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c endort -n "__fish_endort_using_subcommand serve" -s V -l version -d 'Print version'
