from .conftest import again

globals().update(again("replies"))
