complete -c endort -l config -d 'Read settings from FILE instead of ./endort.toml' -r -F
complete -c endort -s v -l verbose -d 'Say which settings are in force and where each came from'
complete -c endort -s q -l quiet -d 'Say nothing but errors'
complete -c endort -s h -l help -d 'Print help (see more with \'--help\')'
complete -c endort -s V -l version -d 'Print version'
