"""``heatbeam explore``: a local web app over the tables of one run or two, and over their images.

``table`` asks Parquet by DuckDB, ``views`` is what an address asks for, ``pictures`` draws rows, ``safety`` is who may
ask, ``app`` puts them together. Nothing but `commands` is imported before the command is called: Starlette and uvicorn
are the extra ``explore``. Imports `runs`, `pages` and rooms below. A new page is a function of `app` and a template.
"""
