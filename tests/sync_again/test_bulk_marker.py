from .conftest import again

globals().update(again("bulk_marker"))
