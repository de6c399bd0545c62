"""The user's own data: one JSON object a line, pictures beside it.

`values` and `lines` check what a line says, `boxes` and `phrases` its parts,
`files` reads files and pictures, `jsonl_builder` writes what they give.
"""
