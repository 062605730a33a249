-- What the tags that the API serves mean.
select json_build_object('tag', tag, 'version', version, 'type', type, 'name_en', name_en, 'name_zh', name_zh,
                         'description_en', description_en, 'description_zh', description_zh, 'expression', expression,
                         'owner', owner, 'purpose', purpose, 'use', use)::text as document
from profile.tag_definition
where price_limited is not true
order by tag
