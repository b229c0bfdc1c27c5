
use builtin;
use str;

set edit:completion:arg-completer[endort] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'endort'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'endort'= {
            cand --config 'Read settings from FILE instead of ./endort.toml'
            cand -v 'Say which settings are in force and where each came from'
            cand --verbose 'Say which settings are in force and where each came from'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand process-frame 'Find polyps in pictures'
            cand stream 'Find polyps in recordings and live sources'
            cand bench 'Measure whether this box holds the budget'
            cand render 'Render a colonoscopy that never was, with its ground truth'
        }
        &'endort;process-frame'= {
            cand --overlay 'Write each picture with its findings drawn, as PNG, to this file or folder'
            cand --mask 'Write each picture''s mask, an 8-bit PNG of 0 and 255, to this file or folder'
            cand --model 'Model: a package folder, an .onnx file, a built-in name, or `none` (the video passes unmarked)'
            cand --runtime 'Runtime that executes the model [default: auto]'
            cand --precision 'Number format that the model computes in'
            cand --threads 'Threads for the model [default: one per core]'
            cand --target-fps 'Frames per second that the budget asks for [default: 30]'
            cand --max-latency-ms 'Longest time from captured to presented before a frame is a violation [default: 200]'
            cand --buffer-size 'Frames that may wait for the AI [default: 5]'
            cand --device 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]'
            cand --optimization-level 'How far the model is rewritten before it runs [default: high]'
            cand --config 'Read settings from FILE instead of ./endort.toml'
            cand --json 'Print one JSON record per picture and nothing else'
            cand --no-ai 'Let the video pass without running a model'
            cand -v 'Say which settings are in force and where each came from'
            cand --verbose 'Say which settings are in force and where each came from'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'endort;stream'= {
            cand -o 'Write the video with its findings drawn to this file, or for several sources into this folder'
            cand --output 'Write the video with its findings drawn to this file, or for several sources into this folder'
            cand --results 'Write each frame''s record to this file or folder; `-` prints them as JSON Lines and nothing else'
            cand --format 'Format of the records [default: by the file''s ending, else jsonl]'
            cand --pace 'Whether frames come when they are due, or as fast as they are taken; live sources have their own pace'
            cand --policy 'What happens to a frame that the AI has no time for [default: every-frame, newest-wins for live sources]'
            cand --model 'Model: a package folder, an .onnx file, a built-in name, or `none` (the video passes unmarked)'
            cand --runtime 'Runtime that executes the model [default: auto]'
            cand --precision 'Number format that the model computes in'
            cand --threads 'Threads for the model [default: one per core]'
            cand --target-fps 'Frames per second that the budget asks for [default: 30]'
            cand --max-latency-ms 'Longest time from captured to presented before a frame is a violation [default: 200]'
            cand --buffer-size 'Frames that may wait for the AI [default: 5]'
            cand --device 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]'
            cand --optimization-level 'How far the model is rewritten before it runs [default: high]'
            cand --config 'Read settings from FILE instead of ./endort.toml'
            cand --resume 'Skip the sources that the ledger calls finished with the same content and settings'
            cand --retry-failed 'Like --resume, and try those again that failed'
            cand --json 'Print the summary as one JSON document and nothing else'
            cand --no-ai 'Let the video pass without running a model'
            cand -v 'Say which settings are in force and where each came from'
            cand --verbose 'Say which settings are in force and where each came from'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'endort;bench'= {
            cand --model 'Model to measure; repeat it for several'
            cand --runtime 'Runtime to measure; repeat it for several [default: auto]'
            cand --precision 'Number format to measure; repeat it for several'
            cand --threads 'Threads for the model [default: one per core]'
            cand --pace 'Whether frames come when they are due, or as fast as they are taken'
            cand --duration 'Seconds to measure for; the source is repeated if it is shorter [default: the source once]'
            cand --warmup 'Frames that are run first and not counted'
            cand --streams 'Streams at once, or `auto`: how many this box holds within the budget'
            cand --ground-truth 'Also measure accuracy against DIR/images and DIR/masks (equal stems)'
            cand --json 'Write the report as JSON to FILE; `-` prints it and nothing else'
            cand --csv 'Write the report as CSV to FILE'
            cand --markdown 'Write the report as Markdown to FILE'
            cand --compare 'Say what changed beyond noise since the JSON report in FILE'
            cand --target-fps 'Frames per second that the budget asks for [default: 30]'
            cand --max-latency-ms 'Longest time from captured to presented before a frame is a violation [default: 200]'
            cand --buffer-size 'Frames that may wait for the AI [default: 5]'
            cand --device 'Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]'
            cand --optimization-level 'How far the model is rewritten before it runs [default: high]'
            cand --config 'Read settings from FILE instead of ./endort.toml'
            cand --check 'Exit with 3 if a run misses its budget'
            cand --no-ai 'Let the video pass without running a model'
            cand -v 'Say which settings are in force and where each came from'
            cand --verbose 'Say which settings are in force and where each came from'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'endort;render'= {
            cand -o 'Folder to write to; made if it is not there'
            cand --output 'Folder to write to; made if it is not there'
            cand --name 'Name of the clip and of its ground truth, without ending [default: `colonoscopy-{HEIGHT}p{FPS}`]'
            cand --size 'Size of the frames'
            cand --fps 'Frames per second: a number, or a fraction such as 30000/1001'
            cand --duration 'Length of the clip; 0 renders stills alone'
            cand --start 'Where on the camera''s way the clip begins'
            cand --seed 'Chooses the colon, its polyps, the camera''s way and the noise'
            cand --stills 'Also render N stills with masks, each of another colon; every fourth shows no polyp'
            cand --view 'Shape of the picture within the frame [default: octagon for the clip, all in turn for stills]'
            cand --crf 'Constant quality of the clip''s H.264: 0 (lossless) to 51'
            cand --config 'Read settings from FILE instead of ./endort.toml'
            cand --no-polyps 'Leave out the polyps; all else stays as it is'
            cand --json 'Print one JSON document that says what was written, and nothing else'
            cand -v 'Say which settings are in force and where each came from'
            cand --verbose 'Say which settings are in force and where each came from'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
    ]
    $completions[$command]
}
