"""Django: what its callers are told when Lisn fails, by async and by blocking views.

MIDDLEWARE = [..., "django_errors.LisnFailed"]
"""

from django.http import JsonResponse
from django.utils.deprecation import MiddlewareMixin
from lisn_answers import answer

from lisn_async import LisnError


class LisnFailed(MiddlewareMixin):
    def process_exception(self, request, error):
        if not isinstance(error, LisnError):
            return None
        body, status, headers = answer(error)
        return JsonResponse(body, status=status, headers=headers)
