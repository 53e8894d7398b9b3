SELECT cursor.name, cursor.next_at, :now, cursor.rule, last_at
FROM json_each(:rules) AS asked
JOIN afterword_cursors AS cursor ON cursor.name = asked.key AND cursor.rule = asked.value
JOIN afterword_schedules AS schedule ON schedule.name = cursor.name
WHERE cursor.next_at <= :now AND NOT paused
ORDER BY cursor.next_at, cursor.name
