-- What the tags of the published night mean.
select json_build_object('tag', tag, 'version', version, 'type', type, 'name_en', name_en, 'name_zh', name_zh,
                         'description_en', description_en, 'description_zh', description_zh, 'expression', expression,
                         'owner', owner, 'purpose', purpose)::text as document
from profile.tag_definition
order by tag
