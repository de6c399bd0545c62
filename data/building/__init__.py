"""What builders share: all but what their files look like.

`builder` is the base class: it writes what readers give. `reading` keeps the
account, `preparing` writes once and whole, `beam_build` reads in parallel,
`identity` and `arguments` say what prepared data is known by, `command` is the
command line, `features` has what records hold. For readers: `drops` counts,
`pictures` checks and stores, `boxes` checks boxes, `archive` finds the members
of tar files.
"""
